"""What Docker has and minirun has not, or not yet; each with a reason and what to do instead.

Nothing is ignored: a script that asks for a restart policy must learn that it does not get one.
"""

from __future__ import annotations

BACKGROUND = (
    "containers run in the foreground so far",
    "run it in another terminal, or put & behind the command",
)
NETWORK = (
    "there is no bridge network so far, so there are no ports and no names of containers",
    "--network host shares the network of this machine",
)
VOLUME = (
    "only directories and files of the host can be mounted so far",
    "-v /DIRECTORY/OF/THE/HOST:/PLACE/IN/THE/CONTAINER",
)
LIMIT = ("this limit cannot be set so far", "-m, --cpus and --pids-limit can")
LOG = ("there are no logs to configure: the output goes to your terminal", "redirect it: > FILE")
NAMESPACE = ("namespaces cannot be shared so far", None)
HEALTH = ("nobody would watch over the health of a foreground container", None)
ENV = ("not there yet", "-e NAME=VALUE sets a variable, -e NAME passes on one of yours")
IMAGE = ("not there yet", None)
FORMAT = ("templates are not there yet", "minirun inspect NAME | jq .[0]")
SWARM = ("minirun works on one machine and leaves clusters to Swarm and Kubernetes", None)

Reason = tuple[str, str | None]

RUN: dict[str, Reason] = {
    **dict.fromkeys(("-d", "--detach", "--restart", "--detach-keys", "--sig-proxy"), BACKGROUND),
    **dict.fromkeys(
        ("-p", "--publish", "-P", "--publish-all", "--expose", "--link", "--ip", "--ip6", "--dns",
         "--dns-search", "--dns-option", "--add-host", "--network-alias", "--mac-address"),
        NETWORK,
    ),
    **dict.fromkeys(
        ("--mount", "--volumes-from", "--tmpfs", "--volume-driver", "--shm-size"), VOLUME
    ),
    **dict.fromkeys(
        ("--memory-swap", "--memory-reservation", "--memory-swappiness", "--cpuset-cpus",
         "--cpuset-mems", "-c", "--cpu-shares", "--cpu-quota", "--cpu-period", "--ulimit",
         "--blkio-weight", "--device-read-bps", "--device-write-bps", "--oom-score-adj",
         "--oom-kill-disable", "--kernel-memory", "--cgroup-parent"),
        LIMIT,
    ),
    **dict.fromkeys(("--log-driver", "--log-opt"), LOG),
    **dict.fromkeys(("--pid", "--ipc", "--uts", "--cgroupns", "--userns"), NAMESPACE),
    **dict.fromkeys(("--health-cmd", "--health-interval", "--no-healthcheck"), HEALTH),
    "--env-file": ENV,
    **dict.fromkeys(
        ("--device", "--gpus", "--group-add", "--init", "--sysctl", "-l", "--label", "--label-file",
         "--annotation", "--cidfile", "--stop-signal", "--stop-timeout", "--isolation", "-a",
         "--attach", "--secret", "--domainname"),
        IMAGE,
    ),
}  # fmt: skip
FLAGS: dict[str, dict[str, Reason]] = {
    "run": RUN,
    "bundle": RUN,
    "inspect": {"-f": FORMAT, "--format": FORMAT},
    "images": {"-f": FORMAT, "--filter": ("filters are not there yet", "minirun images | grep …")},
    "ps": {"-f": FORMAT, "--filter": ("filters are not there yet", "minirun ps -a | grep …")},
    "pull": {"-a": IMAGE, "--all-tags": IMAGE},
}
COMMANDS: dict[str, Reason] = {
    **dict.fromkeys(
        ("create", "start", "stop", "restart", "kill", "wait", "pause", "unpause", "attach", "logs",
         "exec", "top", "stats", "events", "update", "rename", "port"),
        BACKGROUND,
    ),
    **dict.fromkeys(("build", "buildx", "commit", "import"), ("images cannot be made so far",
                    "build it with another tool, push it to a registry, and minirun pull it")),
    **dict.fromkeys(("push", "login", "logout", "search", "save", "load", "export", "cp", "diff"),
                    ("not there yet", "skopeo copy oci:STORE:NAME … reads the store")),
    "network": NETWORK,
    "volume": VOLUME,
    **dict.fromkeys(("swarm", "service", "stack", "node", "secret", "config"), SWARM),
    **dict.fromkeys(("compose", "pod", "kube"), ("minirun runs one container at a time", None)),
}  # fmt: skip


def flag(command: str, option: str) -> Reason | None:
    """Why ``command`` has no such option; None for one that Docker does not know either."""
    return FLAGS.get(command, {}).get(option)
