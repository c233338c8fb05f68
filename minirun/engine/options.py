"""The options that several commands share, as tables for flags.py.

Names, short names and meanings are Docker's (docker-run(1)), so that a script for the one is a
script for the other. later.py refuses, with the reason, what stands here and is not built yet.
"""

from __future__ import annotations

from minirun.engine.flags import Option

TTY = Option("-t", "--tty", help="Give it a terminal.")

# Each is an edit of config.json: edits.py says what it does. `bundle` has these, too.
SPEC = (
    Option("-e", "--env", metavar="NAME[=VALUE]", many=True,
           help="Set a variable, or pass on one of yours."),
    Option("--env-file", metavar="FILE", many=True, help="Set the variables of a file."),
    Option("-w", "--workdir", metavar="DIR", help="Start in this directory."),
    Option("-u", "--user", metavar="USER[:GROUP]",
           help="Run as this user of the image (a name or a number)."),
    Option("--group-add", metavar="GROUP", many=True, help="A member of this group, too."),
    Option("-h", "--hostname", metavar="NAME", help="The container's name for itself."),
    Option("--domainname", metavar="NAME", help="The NIS domain. domainname(1)"),
    Option("--entrypoint", metavar="PROGRAM", help="Run this instead of the image's."),
    Option("--init", help="Process 1 is a small one that passes on signals and reaps orphans."),
    Option("--annotation", metavar="KEY=VALUE", many=True, help="A word to the OCI runtime."),
    # What it may use, and how much of it
    Option("-m", "--memory", metavar="SIZE", help="Most memory, e.g. 64m. No swap then."),
    Option("--memory-swap", metavar="SIZE",
           help="Most memory and swap together; -1 for any amount of swap."),
    Option("--memory-reservation", metavar="SIZE", help="Memory it keeps when others want some."),
    Option("--memory-swappiness", metavar="0-100", help="How readily its memory is swapped out."),
    Option("--oom-score-adj", metavar="-1000…1000", help="Above 0: killed before others."),
    Option("--oom-kill-disable", help="Wait for memory, and do not die. Only with -m."),
    Option("--cpus", metavar="N", help="Most CPU time, e.g. 0.5 for half a processor."),
    Option("-c", "--cpu-shares", metavar="N", help="Its share when all want the CPU; 1024 is par."),
    Option("--cpu-period", metavar="µS", help="The time in which --cpu-quota is given."),
    Option("--cpu-quota", metavar="µS", help="Most CPU time in each period."),
    Option("--cpu-rt-period", metavar="µS", help="The time in which --cpu-rt-runtime is given."),
    Option("--cpu-rt-runtime", metavar="µS", help="Most real-time CPU time in each period."),
    Option("--cpuset-cpus", metavar="0-3,5", help="The processors it may run on."),
    Option("--cpuset-mems", metavar="0-1", help="The memory nodes (NUMA) it may use."),
    Option("--pids-limit", metavar="N", help="Most processes and threads; 2048 by default."),
    Option("--blkio-weight", metavar="10-1000", help="Its share when all want the disk."),
    Option("--blkio-weight-device", metavar="DEV:N", many=True, help="The same for one disk."),
    Option("--device-read-bps", metavar="DEV:SIZE", many=True, help="Most bytes read a second."),
    Option("--device-write-bps", metavar="DEV:SIZE", many=True, help="Most bytes written."),
    Option("--device-read-iops", metavar="DEV:N", many=True, help="Most reads a second."),
    Option("--device-write-iops", metavar="DEV:N", many=True, help="Most writes a second."),
    Option("--ulimit", metavar="NAME=SOFT[:HARD]", many=True,
           help="A limit of each process, e.g. nofile=1024. getrlimit(2)"),
    Option("--cgroup-parent", metavar="CGROUP", help="Put its cgroup below this one."),
    # What it sees, and what it shares
    Option("--read-only", help="The root file system cannot be changed."),
    Option("-v", "--volume", metavar="[SRC:]DST[:ro]", many=True,
           help="Show a directory of the host, or a volume, in the container."),
    Option("--mount", metavar="type=…,source=…,target=…", many=True, help="The same, in words."),
    Option("--tmpfs", metavar="DST[:OPTIONS]", many=True, help="An empty file system in memory."),
    Option("--shm-size", metavar="SIZE", help="The size of /dev/shm; 64m by default."),
    Option("--network", "--net", metavar="NETWORK", many=True,
           help="none, host, container:NAME, or a network's name."),
    Option("--pid", metavar="host|container:NAME", help="See these processes, too."),
    Option("--ipc", metavar="host|private|shareable|container:NAME|none",
           help="Share this shared memory, and these message queues."),
    Option("--uts", metavar="host", help="Have this machine's hostname."),
    Option("--cgroupns", metavar="private|host", help="host: see the cgroups of this machine."),
    Option("--userns", metavar="host", help="Whose ids it has; host: those of this machine."),
    # What it may do
    Option("--cap-add", metavar="CAP", many=True, help="Grant a capability, or ALL."),
    Option("--cap-drop", metavar="CAP", many=True, help="Take away one, or ALL."),
    Option("--security-opt", metavar="OPT", many=True,
           help="no-new-privileges, seccomp=unconfined, seccomp=FILE, apparmor=PROFILE."),
    Option("--sysctl", metavar="NAME=VALUE", many=True, help="Set a sysctl of its namespaces."),
    Option("--device", metavar="HOST[:CONTAINER[:rwm]]", many=True,
           help="Let it use a device, or a CDI device (vendor.com/class=name)."),
    Option("--device-cgroup-rule", metavar="'TYPE MAJOR:MINOR rwm'", many=True,
           help="Let it use these devices, if it makes their nodes itself."),
    Option("--gpus", metavar="all|N|device=…", help="Let it use GPUs, by their CDI files."),
    Option("--privileged",
           help="All capabilities and devices, no filter: root there is root here."),
    Option("--no", metavar="FEATURE", many=True,
           help="For lessons: take a wall away (pid, net, seccomp, …), and see what it was for."),
)  # fmt: skip

# Its life: what the engine does around the runtime.
LIFE = (
    Option("--name", metavar="NAME", help="A name for it; one is made up if not."),
    Option("-l", "--label", metavar="KEY[=VALUE]", many=True, help="A note for people and tools."),
    Option("--label-file", metavar="FILE", many=True, help="The labels of a file, one a line."),
    Option("--rm", help="Remove the container when it has ended."),
    Option("--restart", metavar="POLICY", default="no",
           help="no, always, unless-stopped, on-failure[:MOST]: start it again when it ends."),
    Option("-i", "--interactive", help="Pass standard input on."),
    TTY,
    Option("-a", "--attach", metavar="STREAM", many=True,
           help="Connect only to these: stdin, stdout, stderr."),
    Option("--stop-signal", metavar="SIGNAL", help="What 'stop' sends; else the image's."),
    Option("--stop-timeout", metavar="SECONDS", help="How long 'stop' waits before it kills."),
    Option("--cidfile", metavar="FILE", help="Write the container's ID to a new file."),
    Option("--pidfile", metavar="FILE", help="Write the number of its process to a file."),
    Option("--log-driver", metavar="json-file|local|none", help="none: keep no log."),
    Option("--log-opt", metavar="NAME=VALUE", many=True,
           help="max-size (10m) and max-file (3) of the log."),
    Option("--volumes-from", metavar="CONTAINER[:ro]", many=True,
           help="Mount what another container has mounted."),
    Option("--volume-driver", metavar="local", help="'local' is the only one there is."),
)  # fmt: skip

NETWORK = (
    Option("-p", "--publish", metavar="[[IP:]HOST:]PORT", many=True,
           help="Reach a port of the container through one of this machine."),
    Option("-P", "--publish-all", help="The same for every port that the image names."),
    Option("--expose", metavar="PORT", many=True, help="Name a port, for -P and for people."),
    Option("--network-alias", "--net-alias", metavar="NAME", many=True,
           help="One more name on its network."),
    Option("--ip", metavar="ADDRESS", help="Its IPv4 address."),
    Option("--ip6", metavar="ADDRESS", help="Its IPv6 address."),
    Option("--mac-address", metavar="ADDRESS", help="Its Ethernet address."),
    Option("--dns", metavar="ADDRESS", many=True, help="Ask this server for names."),
    Option("--dns-option", "--dns-opt", metavar="OPTION", many=True, help="See resolv.conf(5)."),
    Option("--dns-search", metavar="DOMAIN", many=True, help="Try names in this domain, too."),
    Option("--add-host", metavar="NAME:ADDRESS", many=True,
           help="A line for /etc/hosts; host-gateway is this machine."),
    Option("--link", metavar="CONTAINER[:ALIAS]", many=True,
           help="A line for /etc/hosts that names another container."),
)  # fmt: skip

HEALTH = (
    Option("--health-cmd", metavar="COMMAND", help="A command that says whether it is well."),
    Option("--health-interval", metavar="TIME", help="How often to ask; 30s by default."),
    Option("--health-timeout", metavar="TIME", help="How long an answer may take; 30s."),
    Option("--health-retries", metavar="N", help="So many failures in a row: unhealthy; 3."),
    Option("--health-start-period", metavar="TIME", help="Failures do not count before."),
    Option("--health-start-interval", metavar="TIME", help="How often to ask until then; 5s."),
    Option("--no-healthcheck", help="Do not ask, whatever the image says."),
)  # fmt: skip

# How an image is pulled, when it is.
PULL = (
    Option("--platform", metavar="OS/ARCH[/VARIANT]", help="The image for another machine."),
    Option("-q", "--quiet", help="Say nothing of a pull."),
    Option("--tls-verify", default=True,
           help="--tls-verify=false: take any certificate, or plain HTTP."),
)  # fmt: skip

EXPLAIN = Option(
    "--explain", metavar="text|json", choices=("text", "json"), alone="text",
    help="Tell every step and system call on stderr; --explain=json for programs.",
)  # fmt: skip

# All that `run` and `create` have in common
CONTAINER = (
    *LIFE,
    *SPEC,
    *NETWORK,
    *HEALTH,
    Option("--pull", metavar="missing|always|never", default="missing",
           choices=("missing", "always", "never"), help="When to ask the registry."),
    *PULL,
    Option("--runtime", metavar="NAME", help="Another OCI runtime: runc, crun, or a path."),
)  # fmt: skip

# What only makes sense for the one who waits for the container
RUN = (
    Option("-d", "--detach", help="Leave it in the background, and print its ID."),
    Option("--detach-keys", metavar="KEYS", help="Keys that leave it there; ctrl-p,ctrl-q."),
    Option("--sig-proxy", default=True, help="--sig-proxy=false: keep signals to yourself."),
)
