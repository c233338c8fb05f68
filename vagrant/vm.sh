#!/bin/bash
# Run a command in a virtual machine of its own: systemd, cgroup v2, all controllers. Needs no KVM.
#
#   vagrant/vm.sh BOX COMMAND [ARGUMENT...]      MEM=2G LIMIT=1200 (seconds) SEES=DIR:DIR APPEND=WORDS
#
# BOX is what box.sh packs. The machine is the workshop machine, without Vagrant and its network:
# QEMU computes every instruction itself, boots in half a minute, and is some 10 times slower than
# this machine. The command sees this project, and the folders SEES, at the same places; all else
# is the box's. What it writes is gone afterwards. APPEND goes to the kernel's command line.
# Standard output, standard error and the exit status are the command's; 125: it did not boot.
#
# The file has two halves: the host runs it as you do, systemd in the guest runs it (systemd.run=).
set -eu

# On the host: unpack the box, write the command down, boot, bring the status home.
boot() {
    [ $# -gt 1 ] || { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 125; }
    command -v qemu-system-x86_64 > /dev/null || {
        printf 'error: qemu-system-x86_64: not found\nhint: apt-get install qemu-system-x86\n' >&2
        exit 125
    }
    scratch=$(mktemp -d --tmpdir minirun-vm.XXXXXX)
    trap 'kill $follower 2> /dev/null; rm -rf "$scratch"' EXIT
    mkdir "$scratch/share"
    tar -xf "$1" -C "$scratch"
    shift
    project=$(realpath "$(dirname "$0")/..")
    cp "$0" "$scratch/share/vm.sh"
    : > "$scratch/share/stdout"
    printf '%s\n' "$project" "${SEES:-}" | tr : '\n' | sed '/^$/d' > "$scratch/share/sees"
    { printf 'cd %q || exit 125; ' "$PWD"; printf '%q ' "$@"; } > "$scratch/share/command"

    mount='-t 9p -o trans=virtio,version=9p2000.L,msize=262144'
    share() { echo "-virtfs local,path=$2,mount_tag=$1,security_model=none,multidevs=remap$3"; }
    tail -f "$scratch/share/stdout" 2> /dev/null & follower=$!
    # shellcheck disable=SC2046  # share: two words
    TMPDIR=$scratch timeout --kill-after=5 "${LIMIT:-1200}" qemu-system-x86_64 \
        -machine q35 -cpu max -accel tcg,thread=multi -smp 2 -m "${MEM:-2G}" \
        -nodefaults -no-user-config -display none -no-reboot -serial "file:$scratch/console" \
        -drive "file=$scratch/box.img,if=virtio,snapshot=on,cache=unsafe" -device virtio-rng-pci \
        $(share host / ,readonly=on) $(share share "$scratch/share" "") \
        -kernel "$scratch/vmlinuz" -initrd "$scratch/initrd.img" \
        -append "root=/dev/vda rw console=ttyS0 quiet mitigations=off nowatchdog ${APPEND:-} \
            systemd.run=\"/bin/mkdir /run/share\" systemd.run=\"/bin/mount $mount share /run/share\" \
            systemd.run=\"/bin/bash /run/share/vm.sh\" systemd.run_success_action=poweroff-immediate \
            systemd.run_failure_action=poweroff-immediate" < /dev/null >&2 || true
    sleep 0.2
    cat "$scratch/share/stderr" >&2 || :
    [ -s "$scratch/share/status" ] || {
        cat "$scratch/console" >&2
        echo "error: the command did not end (LIMIT=${LIMIT:-1200} seconds, MEM=${MEM:-2G})" >&2
        exit 125
    }
    exit "$(cat "$scratch/share/status")"
}

# In the guest: show the host's folders, run the command as a user who logged in would.
guest() {
    cd /run/share
    export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    systemctl --quiet start dbus.socket systemd-logind
    mkdir /host
    mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host /host
    while read -r directory; do
        layer=$(mktemp -d)
        mkdir -p "$directory" "$layer/new" "$layer/work"
        mount -t overlay -o "lowerdir=/host$directory,upperdir=$layer/new,workdir=$layer/work" \
            overlay "$directory"
    done < sees
    status=0
    bash command > stdout 2> stderr < /dev/null || status=$?
    echo $status > status
    sync
}

if [ "$0" = /run/share/vm.sh ]; then guest; else boot "$@"; fi
