"""What Docker has and minirun has not, or not yet; each with a reason and what to do instead.

Nothing is ignored: a script that asks for a restart policy must learn that it does not get one.
"""

from __future__ import annotations

SWARM = ("minirun works on one machine and leaves clusters to Swarm and Kubernetes", None)

Reason = tuple[str, str | None]

UNSIGNED: Reason = ("signatures are not looked at anyway", "just leave it out")
ONE_PLATFORM: Reason = ("an image here is for one platform", "minirun history shows its layers")

# Options of Docker's and Podman's that will not come.
RUN: dict[str, Reason] = {
    **dict.fromkeys(
        ("--isolation", "--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops"),
        ("only Windows has it", None),
    ),
    "--kernel-memory": ("the kernel has no such limit any more", "-m counts its memory, too"),
    "--link-local-ip": ("a container has no link-local addresses", "--ip, --ip6"),
    "--storage-opt": ("the size of a container's own layer cannot be limited", None),
    "--disable-content-trust": UNSIGNED,
    "--use-api-socket": ("there is no daemon, and so no socket of one", None),
    "--secret": ("there is no store of secrets", "-v FILE:/run/secrets/NAME:ro"),
    "--pod": ("minirun runs one container at a time", "--network container:NAME shares one"),
    "--replace": ("a container is never replaced by another", "minirun rm -f NAME before"),
}
BUNDLE = ("a bundle has no engine around it", "minirun run and minirun create know this option")
CREATE_NETWORK: dict[str, Reason] = {
    "--aux-address": ("addresses are not kept free one by one", "--ip-range leaves some of them"),
    **dict.fromkeys(
        ("--attachable", "--ingress", "--scope", "--config-only", "--config-from"), SWARM
    ),
    **dict.fromkeys(("--ipam-driver", "--ipam-opt"), ("we give addresses out ourselves", None)),
    "--ipv4": ("a network always has IPv4 addresses", "just leave it out"),
    "--disable-dns": ("the default network has no names", "minirun run without --network"),
}
FLAGS: dict[str, dict[str, Reason]] = {
    "run": RUN,
    "create": RUN,
    "bundle": RUN,
    "network create": CREATE_NETWORK,
    "network connect": {
        **dict.fromkeys(("--link", "--link-local-ip"), ("it has names for that", "--alias NAME")),
        **dict.fromkeys(("--driver-opt", "--gw-priority"), ("the first network is the way out",
                        "minirun network disconnect the others before")),
    },
    "network disconnect": dict.fromkeys(
        ("-f", "--force"), ("who has ended has left its networks", "just leave it out")
    ),
    "network inspect": dict.fromkeys(("-v", "--verbose"), SWARM),
    "network prune": {"--filter": ("not there yet", "minirun network ls --filter, and rm")},
    "volume create": dict.fromkeys(
        ("--availability", "--group", "--limit-bytes", "--required-bytes", "--scope", "--secret",
         "--sharing", "--topology-preferred", "--topology-required", "--type"),
        SWARM,
    ),
    "volume ls": {"--cluster": SWARM},
    "start": dict.fromkeys(("--checkpoint", "--checkpoint-dir"), (
        "a container is not taken up where it was", "minirun-oci restore can, with CRIU")),
    "logs": {"--details": ("a log keeps what was printed only", "minirun inspect NAME")},
    "rm": dict.fromkeys(("-l", "--link"), ("a link is a line of /etc/hosts, not a name", None)),
    "pull": {
        **dict.fromkeys(("-a", "--all-tags"), ("one image at a time", "skopeo list-tags")),
        "--disable-content-trust": UNSIGNED,
    },
    "images": {"--tree": ONE_PLATFORM},
    "rmi": {"--platform": ONE_PLATFORM,
            "--no-prune": ("what nothing needs does not stay", "minirun tag keeps an image")},
    "history": {"--platform": ONE_PLATFORM},
}  # fmt: skip
COMMANDS: dict[str, Reason] = {
    **dict.fromkeys(("build", "buildx"), ("Dockerfiles cannot be built so far",
                    "minirun run, and minirun commit what it has changed")),
    **dict.fromkeys(("push", "login", "logout", "search", "save", "load"),
                    ("not there yet", "skopeo copy oci:STORE:NAME … reads the store")),
    **dict.fromkeys(("swarm", "service", "stack", "node", "secret", "config"), SWARM),
    **dict.fromkeys(("compose", "pod", "kube"), ("minirun runs one container at a time", None)),
}  # fmt: skip


def flag(command: str, option: str) -> Reason | None:
    """Why ``command`` has no such option; None for one that it has, or that nobody knows."""
    return FLAGS.get(command, {}).get(option)


def elsewhere(command: str, option: str) -> Reason | None:
    """Why ``command`` lacks an option that `run` has."""
    if command != "bundle":
        return None
    from minirun.engine import options

    names = {name for row in (*options.CONTAINER, *options.RUN) for name in row.names}
    return BUNDLE if option in names else None
