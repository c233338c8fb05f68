"""What Docker has and minirun has not, or not yet; each with a reason and what to do instead.

Nothing is ignored: a script that asks for a restart policy must learn that it does not get one.
"""

from __future__ import annotations

NETWORK = (
    "there is no bridge network so far, so there are no ports and no names of containers",
    "--network host shares the network of this machine",
)
IMAGE = ("not there yet", None)
SWARM = ("minirun works on one machine and leaves clusters to Swarm and Kubernetes", None)

Reason = tuple[str, str | None]

# Rows of options.py that nobody has built yet: who builds one takes it out here.
UNBUILT: dict[str, Reason] = {
    **dict.fromkeys(
        ("-p", "--publish", "-P", "--publish-all", "--expose", "--link", "--ip", "--ip6", "--dns",
         "--dns-search", "--dns-option", "--dns-opt", "--add-host", "--network-alias",
         "--net-alias", "--mac-address", "--link-local-ip"),
        NETWORK,
    ),
}  # fmt: skip
# Options of Docker's and Podman's that will not come.
NEVER: dict[str, Reason] = {
    **dict.fromkeys(
        ("--isolation", "--cpu-count", "--cpu-percent", "--io-maxbandwidth", "--io-maxiops"),
        ("only Windows has it", None),
    ),
    "--kernel-memory": ("the kernel has no such limit any more", "-m counts its memory, too"),
    "--storage-opt": ("the size of a container's own layer cannot be limited", None),
    "--disable-content-trust": ("signatures are not looked at anyway", "just leave it out"),
    "--use-api-socket": ("there is no daemon, and so no socket of one", None),
    "--secret": ("there is no store of secrets", "-v FILE:/run/secrets/NAME:ro"),
    "--pod": ("minirun runs one container at a time", "--network container:NAME shares one"),
    "--replace": ("a container is never replaced by another", "minirun rm -f NAME before"),
}
RUN = UNBUILT | NEVER
BUNDLE = ("a bundle has no engine around it", "minirun run and minirun create know this option")
FLAGS: dict[str, dict[str, Reason]] = {
    "run": RUN,
    "create": RUN,
    "bundle": RUN,
    "pull": {"-a": IMAGE, "--all-tags": IMAGE},
}
COMMANDS: dict[str, Reason] = {
    **dict.fromkeys(("build", "buildx"), ("Dockerfiles cannot be built so far",
                    "minirun run, and minirun commit what it has changed")),
    **dict.fromkeys(("push", "login", "logout", "search", "save", "load"),
                    ("not there yet", "skopeo copy oci:STORE:NAME … reads the store")),
    **dict.fromkeys(("network", "port"), NETWORK),
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
