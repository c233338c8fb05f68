"""The options that several commands share, as tables for flags.py."""

from __future__ import annotations

from minirun.engine.flags import Option

# Each is an edit of config.json: edits.py says what it does.
SPEC = (
    Option("-e", "--env", metavar="NAME[=VALUE]", many=True,
           help="Set a variable, or pass on one of yours."),
    Option("-w", "--workdir", metavar="DIR", help="Start in this directory."),
    Option("-u", "--user", metavar="USER[:GROUP]",
           help="Run as this user of the image (a name or a number)."),
    Option("-v", "--volume", metavar="SRC:DST[:ro]", many=True,
           help="Show a file or directory of the host in the container."),
    Option("-h", "--hostname", metavar="NAME", help="The container's name for itself."),
    Option("--entrypoint", metavar="PROGRAM", help="Run this instead of the image's."),
    Option("-m", "--memory", metavar="SIZE", help="Most memory, e.g. 64m. No swap then."),
    Option("--cpus", metavar="N", help="Most CPU time, e.g. 0.5 for half a processor."),
    Option("--pids-limit", metavar="N", help="Most processes and threads; 2048 by default."),
    Option("--network", "--net", metavar="none|host",
           help="'none' (the default so far): only lo. 'host': this machine's network."),
    Option("--read-only", help="The root file system cannot be changed."),
    Option("--cap-add", metavar="CAP", many=True, help="Grant a capability, or ALL."),
    Option("--cap-drop", metavar="CAP", many=True, help="Take away one, or ALL."),
    Option("--security-opt", metavar="OPT", many=True,
           help="no-new-privileges, seccomp=unconfined, seccomp=FILE, apparmor=PROFILE."),
    Option("--privileged",
           help="All capabilities and devices, no filter: root there is root here."),
    Option("--no", metavar="FEATURE", many=True,
           help="For lessons: take a wall away (pid, net, seccomp, …), and see what it was for."),
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
