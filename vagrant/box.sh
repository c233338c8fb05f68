#!/bin/bash
# Pack a Vagrant box of the Debian or Ubuntu release that this machine runs itself.
#
#   sudo vagrant/box.sh OUT.box
#
# A box for the libvirt provider is a tar of metadata.json, a Vagrantfile and a disk image; this one
# also carries its kernel and initrd, which QEMU loads itself: no boot loader. It is made for
# machines without a network: what `setup.sh install` needs from apt is installed, and what it needs
# from PyPI lies in /opt/wheels, where pip is told to look. Packages come from the mirrors that
# this machine's own apt uses.
set -eu

fail() { printf 'error: %s\nhint: %s\n' "$1" "$2" >&2; exit 1; }

[ $# = 1 ] || { sed -n '4p' "$0" >&2; exit 2; }
out=$(realpath "$1")
project=$(realpath "$(dirname "$0")/..")
scratch=$(mktemp -d --tmpdir minirun-box.XXXXXX)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=/dev/null
. /etc/os-release
case $ID in
    ubuntu) kernel=linux-image-virtual ;;
    *)      kernel=linux-image-amd64 ;;
esac
# A machine that Vagrant can log in to: it boots, gets an address, has ssh, sudo and rsync.
machine="$kernel initramfs-tools systemd-sysv dbus udev iproute2 openssh-server sudo rsync procps"
# What minirun is compared with and looked at with; sessions of users, for what needs no privileges.
others="apparmor runc crun podman containerd docker.io iptables strace uidmap dbus-user-session libpam-systemd kmod"

# 1. The wheels: minirun's dependencies, and what builds minirun itself.
python=$(readlink -f "$project/.venv/bin/python") || fail "no .venv" "sudo ./setup.sh install"
"$python" - "$project/pyproject.toml" > "$scratch/requirements" << 'END'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    document = tomllib.load(file)
project = document["project"]
print(*document["build-system"]["requires"], *project["dependencies"], "wheel",
      *project["optional-dependencies"]["fast"], sep="\n")
END
"$project/.venv/bin/pip" --quiet wheel --wheel-dir "$scratch/wheels" -r "$scratch/requirements"

# 2. The files of the machine, as they are put over those of the packages.
files=$scratch/files
put() { mkdir -p "$(dirname "$files/$1")"; cat > "$files/$1"; }

put etc/initramfs-tools/conf.d/box << 'END'
MODULES=list
COMPRESS=zstd
END
printf '%s\n' virtio_pci virtio_blk virtio_net ext4 | put etc/initramfs-tools/modules
printf '%s\n' '127.0.0.1 localhost' '127.0.1.1 minirun' | put etc/hosts
echo minirun | put etc/hostname
put etc/fstab << 'END'
/dev/vda / ext4 rw,noatime 0 1
END
put etc/systemd/network/box.network << 'END'
[Match]
Name=en* eth*
[Network]
DHCP=ipv4
[DHCPv4]
ClientIdentifier=mac
END
put etc/sudoers.d/vagrant << 'END'
vagrant ALL=(ALL) NOPASSWD: ALL
END
put etc/ssh/sshd_config.d/box.conf << 'END'
UseDNS no
END
put etc/pip.conf << 'END'
[global]
no-index = true
find-links = /opt/wheels
END
# Every box starts with this well-known key; `vagrant up` replaces it by one of its own.
put home/vagrant/.ssh/authorized_keys < "$(find /usr/share /opt/vagrant -path '*/keys/vagrant.pub' \
    2> /dev/null | head -n 1)"
mkdir -p "$files/opt"
mv "$scratch/wheels" "$files/opt/wheels"
chmod -R u=rwX,go=rX "$files"
chmod 0700 "$files/home/vagrant/.ssh"

# 3. The root file system, by mmdebstrap, with what setup.sh would install.
needs=$(sed -n 's/^apt_packages="\(.*\)"$/\1/p' "$project/setup.sh")
needs="$needs $(basename "$python") $(basename "$python")-venv $(basename "$python")-dev"
apt-get indextargets --format "deb \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" 'Created-By: Packages' |
    grep " ${VERSION_CODENAME}[a-z-]* " > "$scratch/sources.list"
mmdebstrap --quiet --variant=minbase --mode=root \
    --include="$(echo "$machine" "$others" "$needs" | tr ' ' ,)" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook="cp -r $files/etc/initramfs-tools \"\$1/etc/\"" \
    --customize-hook="chroot \"\$1\" useradd --create-home --shell /bin/bash vagrant" \
    --customize-hook="cp -r $files/. \"\$1/\"" \
    --customize-hook="chroot \"\$1\" chown -R vagrant: /home/vagrant" \
    --customize-hook="chroot \"\$1\" systemctl --quiet enable systemd-networkd ssh serial-getty@ttyS0" \
    --customize-hook="chroot \"\$1\" systemctl --quiet mask systemd-networkd-wait-online" \
    "$VERSION_CODENAME" "$scratch/root" "$scratch/sources.list"

# 4. The disk and the box.
mkdir "$scratch/box"
cd "$scratch/box"
mke2fs -q -t ext4 -d "$scratch/root" "$scratch/disk.img" 4G
qemu-img convert -c -O qcow2 "$scratch/disk.img" box.img
cp "$scratch"/root/boot/vmlinuz-* vmlinuz
cp "$scratch"/root/boot/initrd.img-* initrd.img
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 4}' > metadata.json
cat > Vagrantfile << 'END'
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.expand_path("../vmlinuz", __FILE__)
    libvirt.initrd = File.expand_path("../initrd.img", __FILE__)
    libvirt.cmd_line = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0"
  end
end
END
tar -cf "$scratch/out" ./*
mv "$scratch/out" "$out"
