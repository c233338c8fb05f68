#!/bin/bash
# Run a command on a second Linux kernel, with cgroup v2, in a few seconds and without privileges.
#
#   vagrant/uml.sh COMMAND [ARGUMENT...]      MEM=3G LIMIT=120 (seconds)
#
# User-Mode Linux is Linux compiled as an ordinary program (Debian's package user-mode-linux).
# This one boots with the files of the machine, read-only, as its root (hostfs), so that the
# command, its libraries and this project are there as they are here. /tmp, /run and /var/lib are
# empty and its own; every cgroup v2 controller it has (cpu, io, memory, pids) is switched on.
# Standard output, standard error and the exit status are the command's; 125: it did not boot.
#
# The file has two halves: the host runs it as you do, the new kernel runs it as its process 1.
set -eu

# On the host: write the command down where the guest finds it, boot, bring the status home.
boot() {
    [ $# -gt 0 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 125; }
    for program in linux.uml busybox; do
        command -v $program > /dev/null || {
            printf 'error: %s: not found\nhint: %s\n' $program \
                'apt-get install user-mode-linux busybox-static' >&2
            exit 125
        }
    done
    share=$(mktemp -d)
    trap 'rm -rf "$share"' EXIT
    { printf 'cd %q || exit 125; ' "$PWD"; printf '%q ' "$@"; } > "$share/command"

    # Console 0 is the kernel's own, 1 the command's standard output, 2 its standard error.
    timeout --kill-after=5 "${LIMIT:-120}" linux.uml \
        mem="${MEM:-3G}" uml_dir="$share" umid=uml quiet loglevel=3 \
        root=none rootfstype=hostfs rootflags=/ ro init="$(realpath "$0")" \
        con=null con0=null,fd:3 con1=null,fd:1 con2=null,fd:2 \
        share="$share" tree="$(realpath "$(dirname "$0")/..")" \
        3> "$share/console" < /dev/null || true

    [ -s "$share/status" ] || {
        cat "$share/console" >&2
        echo "error: the command did not end (LIMIT=${LIMIT:-120} seconds, MEM=${MEM:-3G})" >&2
        exit 125
    }
    exit "$(cat "$share/status")"
}

# In the guest: make what an init makes, run the command, switch the machine off.
# The kernel hands what it does not know itself (share=, tree=) to process 1 as its environment.
init() {
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
    trap 'busybox poweroff -f' EXIT
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /tmp
    mount -t tmpfs tmpfs /var/lib                  # minirun's images and containers
    mkdir -p /dev/pts /dev/shm "${tree:?}" /run/share
    mount -t devpts -o ptmxmode=666 devpts /dev/pts
    mount -t tmpfs tmpfs /dev/shm
    ln -s /proc/self/fd /dev/fd
    mount -r -t hostfs -o "$tree" none "$tree"     # it may lie below one of these
    mount -t hostfs -o "${share:?}" none /run/share    # the one place of the host that can be written
    busybox insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    busybox ip link set lo up

    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir /sys/fs/cgroup/init                      # a cgroup with children has no processes (v2)
    echo 1 > /sys/fs/cgroup/init/cgroup.procs
    sed 's/[^ ][^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control

    stty -opost < /dev/tty1                        # "\n" stays "\n"
    stty -opost < /dev/tty2
    status=0
    setsid bash /run/share/command > /dev/tty1 2> /dev/tty2 < /dev/null || status=$?
    echo $status > /run/share/status
}

if [ $$ = 1 ]; then init; else boot "$@"; fi
