#!/bin/bash
# Bring the workshop machine up from a box of our own, and run a command in it.
#
#   sudo vagrant/emulate.sh BOX COMMAND [ARGUMENT...]
#
# The Vagrantfile beside this script is used by a real `vagrant up`, with libvirt and QEMU as the
# provider and software emulation as the processor: slow (minutes), but it needs no KVM. Nothing of
# this machine changes: vagrant, libvirtd, dnsmasq and QEMU live in mount, network and PID
# namespaces of their own, with folders of their own, and are gone when the script ends.
# The exit status is the command's.
set -eu

[ $# -gt 1 ] || { sed -n '4p' "$0" >&2; exit 2; }

if [ -z "${MINIRUN_EMULATE:-}" ]; then
    scratch=$(mktemp -d --tmpdir minirun-vm.XXXXXX)
    trap 'rm -rf "$scratch"' EXIT
    export MINIRUN_EMULATE="$scratch"
    unshare --mount --net --pid --fork --kill-child --mount-proc "$0" "$@"
    exit
fi

scratch=$MINIRUN_EMULATE
box=$(realpath "$1")
shift
cd "$(dirname "$0")"

# This machine's folders of libvirt, but empty and private.
ip link set lo up
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
cp -r /etc/libvirt "$scratch/etc"
cat > "$scratch/etc/qemu.conf" << 'END'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
stdio_handler = "file"
END
mount --bind "$scratch/etc" /etc/libvirt
for directory in lib cache log; do
    mkdir "$scratch/$directory"
    mount --bind "$scratch/$directory" "/var/$directory/libvirt"
done
mkdir /run/libvirt
libvirtd --daemon

export VAGRANT_HOME="$scratch/home" VAGRANT_DOTFILE_PATH="$scratch/machine" MINIRUN_BOX=minirun
export VAGRANT_CHECKPOINT_DISABLE=1 VAGRANT_BOX_UPDATE_CHECK_DISABLE=1
vagrant box add --no-tty --name "$MINIRUN_BOX" "$box"
vagrant up --no-tty --provider=libvirt
vagrant ssh --no-tty --command "$(printf '%q ' "$@")"
