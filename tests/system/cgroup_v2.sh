#!/bin/bash
# The main job and its limits on a machine with cgroup v2, seen from inside the container.
# One line for each fact; the exit status is the number of those that do not hold.
# Run as root, by test_uml.py under User-Mode Linux and by test_vagrant.py in the workshop machine.
# shellcheck source=tests/system/expect.sh
. "$(dirname "$0")/expect.sh"

# shellcheck disable=SC2317  # expect calls it
tiny() { minirun run --rm --network none "$@"; }  # this kernel has no bridges
groups() { find /sys/fs/cgroup -mindepth 1 -type d | grep -v '\.service$' | sort; }

expect 'this machine has cgroup v2' $'cgroup2fs\nstatus 0' stat -fc %T /sys/fs/cgroup
before=$(groups)
expect 'minirun doctor misses nothing' '*status 0' minirun doctor
expect 'a container runs, as PID 1' $'1\nstatus 0' tiny tiny sh -c 'echo $$'
expect 'it is the root of the cgroups that it sees' $'0::/\nstatus 0' tiny tiny cat /proc/self/cgroup

expect '-m is memory.max' $'20971520\nstatus 0' tiny -m 20m tiny cat /sys/fs/cgroup/memory.max
expect '--pids-limit is pids.max' $'7\nstatus 0' \
    tiny --pids-limit 7 tiny cat /sys/fs/cgroup/pids.max
expect '--cpus is cpu.max' $'50000 100000\nstatus 0' tiny --cpus 0.5 tiny cat /sys/fs/cgroup/cpu.max

# shellcheck disable=SC2016  # for the shell inside
expect 'too much memory ends with 137 and says why' \
    $'*killed by the out-of-memory killer*\nstatus 137' \
    tiny -m 20m tiny sh -c 'x=$(head -c 100000000 /dev/zero | tr "\0" x)'
expect 'too many processes cannot be started' '*fork*' \
    tiny --pids-limit 5 tiny sh -c 'for i in 1 2 3 4 5 6 7; do sleep 2 & done'
expect 'a device that is allowed opens' 'status 0' tiny tiny sh -c ': < /dev/zero'
expect 'a device that is not does not, not even for root (eBPF)' '*not permitted*status [1-9]*' \
    tiny --cap-add MKNOD tiny sh -c 'mknod /dev/mem c 1 1 && cat < /dev/mem'

expect 'no cgroup is left behind' 'status 0' diff <(echo "$before") <(groups)
exit "$failed"  # counted by expect
