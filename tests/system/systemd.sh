#!/bin/bash
# systemd and our runtime: scopes, limits that both agree about, podman, users without privileges.
#
#   systemd.sh MINIRUN-OCI
#
# Run as root by test_virtual_machine.py in a machine where systemd runs and may be changed.
# shellcheck disable=SC2086,SC2154,SC2317  # $engine is several words; failed; what expect calls
# shellcheck source=tests/system/expect.sh
. "$(dirname "$0")/expect.sh"
runtime=$1
bundle=/tmp/bundle
ada=1234

oci() { "$runtime" --systemd-cgroup "$@"; }

# mine COMMAND...: as a user without privileges
mine() { runuser -u ada -- env XDG_RUNTIME_DIR=/run/user/$ada "$@"; }

# bundle NAME [mine]: a container that sleeps, with limits, in the scope that cgroupsPath NAME means
bundle() {
    rm -rf $bundle
    mkdir -p $bundle/rootfs/{bin,proc,sys,dev,tmp}
    cp /bin/busybox $bundle/rootfs/bin
    for applet in sh sleep cat head tr true; do ln -s busybox $bundle/rootfs/bin/$applet; done
    if [ $# = 2 ]; then chown -R ada $bundle; fi
    (cd $bundle && ${2:-} "$runtime" spec ${2:+--rootless})
    python3 - "$1" << 'END'
import json, sys
with open("/tmp/bundle/config.json") as file:
    config = json.load(file)
config["process"].update(args=["sleep", "1000"], terminal=False, env=["PATH=/bin"])
config["root"]["readonly"] = False
linux = config["linux"]
linux["cgroupsPath"] = sys.argv[1]
resources = linux.setdefault("resources", {})
resources["memory"] = {"limit": 64 << 20, "swap": 96 << 20}
resources["pids"] = {"limit": 20}
resources["cpu"] = {"quota": 50000, "period": 100000}
with open("/tmp/bundle/config.json", "w") as file:
    json.dump(config, file)
END
}

# limits DIRECTORY: as the kernel has them
limits() {
    (cd "/sys/fs/cgroup/$1" && cat memory.max memory.swap.max pids.max cpu.max) | tr '\n' ' '
}

expect 'systemd runs here, with cgroup v2' $'cgroup2fs\nstatus 0' stat -fc %T /sys/fs/cgroup
before=$(find /sys/fs/cgroup -mindepth 1 -type d -name '*minirun*' -o -name '*.scope' | sort)

# --- a scope ---
bundle mini-run.slice:docker:one
scope=mini.slice/mini-run.slice/docker-one.scope
expect 'a scope is made where its name says' 'status 0' oci run --detach --bundle $bundle one
expect 'the container is in it' "0::/$scope"$'\nstatus 0' \
    cat "/proc/$("$runtime" state one | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')/cgroup"
expect 'its limits are those of config.json' '67108864 33554432 20 50000 100000 status 0' limits $scope
expect 'systemd knows them too' $'CPUQuotaPerSecUSec=500ms\nMemoryMax=67108864\nMemorySwapMax=33554432\nTasksMax=20\nstatus 0' \
    systemctl show docker-one.scope -p CPUQuotaPerSecUSec,MemoryMax,MemorySwapMax,TasksMax
systemctl daemon-reload
expect 'so a reload changes nothing' '67108864 33554432 20 50000 100000 status 0' limits $scope
expect 'limits can be changed' 'status 0' \
    "$runtime" update --memory 40m --memory-swap 50m --pids-limit 30 --cpu-quota 25000 one
systemctl daemon-reload
expect 'a reload does not undo that' '41943040 10485760 30 25000 100000 status 0' limits $scope
expect 'exec joins the scope' "0::*docker-one.scope"$'\nstatus 0' \
    sh -c "'$runtime' exec --detach --pid-file /tmp/pid one sleep 100; cat /proc/\$(cat /tmp/pid)/cgroup"
expect 'a device stays forbidden' '*not permitted*' \
    sh -c "mknod $bundle/rootfs/mem c 1 1; '$runtime' exec one head -c 1 /mem"
expect 'it can be paused and resumed' '*paused*status 0' \
    sh -c "'$runtime' pause one && '$runtime' state one && '$runtime' resume one"
expect 'and removed' 'status 0' "$runtime" delete --force one
expect 'then systemd has forgotten it' '*could not be found*' systemctl status docker-one.scope
for _ in 1 2 3; do
    expect 'the same name can be used at once' 'status 0' \
        sh -c "'$runtime' --systemd-cgroup run -d -b $bundle one && '$runtime' delete --force one"
done
expect 'systemctl can end a container' '*"stopped"*status 0' sh -c \
    "'$runtime' --systemd-cgroup run -d -b $bundle one && systemctl kill -s KILL docker-one.scope &&
     sleep 1 && '$runtime' state one && '$runtime' delete one"

# --- names that are none ---
for name in /a/b a/../b:x:y a--b.slice:x:y 'a.slice:x' 'a.slice:x:y z'; do
    bundle "$name"
    expect "$name is refused" '*cgroupsPath*status 125' oci run --detach --bundle $bundle one
done

# --- podman, whose own way it is ---
tar -C $bundle/rootfs -c . | podman import --quiet - tiny > /dev/null
engine="podman --runtime $runtime --cgroup-manager=systemd"
expect 'podman runs a container in a scope of systemd' '*machine.slice*libpod-*.scope*status 0' \
    sh -c "$engine run -d --network none --name p -m 64m --pids-limit 9 tiny sleep 1000 &&
           cat /proc/\$(podman inspect -f '{{.State.Pid}}' p)/cgroup"
expect 'with its limits' $'67108864\n9\nstatus 0' \
    $engine exec p cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
expect 'counts it' '*67.11MB*status 0' $engine stats --no-stream p
expect 'pauses it, lets it go on and removes it' '*status 0' \
    sh -c "$engine pause p && $engine unpause p && $engine rm -f -t 0 p"

# --- a user without privileges ---
useradd --uid $ada --create-home ada
loginctl enable-linger ada
until [ -S /run/user/$ada/bus ]; do sleep 0.2; done
bundle :docker:mine mine
expect "a user's limits are kept by the user's own systemd" '67108864 33554432 20 50000 100000 status 0' \
    sh -c "$(declare -f mine limits); ada=$ada
           mine '$runtime' --root /run/user/$ada/oci --systemd-cgroup run -d -b $bundle mine &&
           limits user.slice/user-$ada.slice/user@$ada.service/user.slice/docker-mine.scope"
expect 'and can be changed' 'status 0' \
    mine "$runtime" --root /run/user/$ada/oci update --pids-limit 7 mine
expect 'exec works there' $'7\nstatus 0' mine "$runtime" --root /run/user/$ada/oci exec mine \
    cat /sys/fs/cgroup/pids.max
expect 'and removal' 'status 0' mine "$runtime" --root /run/user/$ada/oci delete --force mine
bundle /mine mine
expect 'without systemd, limits are refused, with the reason' '*not ours to change*status 125' \
    mine "$runtime" --root /run/user/$ada/oci run -b $bundle mine
loginctl disable-linger ada

expect 'no cgroup is left behind' 'status 0' diff <(echo "$before") \
    <(find /sys/fs/cgroup -mindepth 1 -type d -name '*minirun*' -o -name '*.scope' | sort)
exit $failed
