"""Every flag that docker's and podman's users type works, or is refused with one line of reason.

The table is from counting 11,081 command lines of docker, podman and nerdctl in 27 repositories of
documentation and lessons; `run` alone has 3,391 of them. A flag is never ignored.
"""

import re
import shutil
import subprocess

import click
import pytest

from minirun.engine import group, later, options
from minirun.engine.command import TableCommand

# The flags that 97.6 % of the lines of `run` do with, by how often they are used; and --gpus.
STAGES = (
    "-d -v -i -t -p -e --name --rm",
    "--network",
    "-w -h -u --entrypoint --env-file --privileged --restart",
    "--cap-add --cap-drop --device --security-opt -m --mount --shm-size",
    "--link",
    "--ip --volumes-from -P --tmpfs --ulimit --log-driver",
    "--dns-search --group-add -c --cpuset-cpus --cpus",
    "--init --read-only --platform -l --pid --pids-limit --log-opt --runtime --memory-swap --dns",
    "--gpus",
)
WANTED = [flag for stage in STAGES for flag in stage.split()]
PULLED_FORWARD = (  # rare in tutorials, central in lessons
    "--userns --ipc --uts --cgroupns --pull --quiet --cidfile --sysctl --add-host"
).split()
OTHER_SPELLINGS = "--net --cpu-shares --label --hostname --publish --detach --volume".split()

# command: the flags of its lines, and of its manual page where lessons use it
COMMANDS = {
    "exec": "-i -t -u -w --privileged -d -e --env-file --detach-keys",
    "ps": "-a -q -f --filter -l --format --no-trunc -s -n",
    "logs": "-f --tail -n --details -t --since --until",
    "images": "-f --filter --format --digests -q -a --no-trunc --tree",
    "inspect": "-f --format --type -s",
    "pull": "--platform -a -q",
    "rm": "-f -v -l",
    "rmi": "-f --no-prune",
    "stop": "-t --timeout --time -s",
    "restart": "-t --time -s",
    "kill": "-s --signal",
    "commit": "-m -a -c -p --pause",
    "export": "-o",
    "import": "-c -m --platform",
    "stats": "--format --no-stream -a --no-trunc",
    "top": "",
    "diff": "",
    "port": "",
    "wait": "",
    "tag": "",
    "rename": "",
    "cp": "-a -L -q",
    "update": "-m --memory-swap --cpus -c --pids-limit --restart --cpuset-cpus",
    "events": "--since --until -f --format",
    "history": "-q --no-trunc --format -H",
    "build": "-t --no-cache --pull -f",
    "push": "-a -q",
    "login": "-u -p --password-stdin",
    "save": "-o",
    "load": "-i -q",
}
SUBCOMMANDS = {
    "network create": "-d --subnet -o --gateway --internal --ip-range --label --ipv6 --attachable "
                      "--aux-address --disable-dns",
    "network ls": "-q -f --format --no-trunc",
    "network rm": "-f",
    "network prune": "-f --filter",
    "network inspect": "-f",
    "network connect": "--alias --ip --ip6 --link",
    "network disconnect": "-f",
    "volume create": "--name -d -o --label",
    "volume ls": "-q -f --format",
    "volume rm": "-f",
    "volume inspect": "-f",
    "volume prune": "-a -f --filter",
    "system prune": "-a -f --volumes --filter",
    "system df": "-v --format",
    "image prune": "-a -f --filter",
}  # fmt: skip


@pytest.mark.parametrize("flag", [*WANTED, *PULLED_FORWARD, *OTHER_SPELLINGS])
def test_what_is_wanted_of_run_is_there(flag):
    names = {name for row in (*options.RUN, *options.CONTAINER) for name in row.names}
    assert flag in names
    assert later.flag("run", flag) is None


def names_of(command: str) -> set[str]:
    """The options that a command has."""
    found = group.cli
    for word in command.split():
        found = found.get_command(None, word)
        assert found is not None, f"there is no minirun {command}"
    if isinstance(found, TableCommand):
        return {name for row in found.module.OPTIONS for name in row.names}
    return {name for option in found.params for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("command", [*COMMANDS, *SUBCOMMANDS])
def test_flags_of_other_commands(command):
    """Neither known nor refused with a reason: a user would only read "no such option"."""
    if command.partition(" ")[0] in later.COMMANDS:
        pytest.skip("there is no such command, and a reason")
    texts = COMMANDS.get(command) or SUBCOMMANDS.get(command) or ""
    refused = {flag for flag in texts.split() if later.flag(command, flag)}
    assert set(texts.split()) - names_of(command) - refused == set()


def docker_flags(*command: str) -> list[str]:
    """The flags that `docker COMMAND --help` shows, which needs no daemon."""
    line = ["docker", *command, "--help"]
    shown = subprocess.run(line, capture_output=True, text=True, check=False).stdout
    pairs = re.findall(r"^ +(?:(-\w), )?(--[\w-]+)", shown.partition("Options:")[2], re.MULTILINE)
    return [flag for pair in pairs for flag in pair if flag not in ("", "--help")]


def commands() -> list[str]:
    """Our commands that docker has, too; those with commands of their own are not among them."""
    found = []
    for name in set(group.COMMANDS) - {"bundle", "unpack", "source", "doctor"}:
        command = group.cli.get_command(None, name)
        below = command.list_commands(None) if isinstance(command, click.Group) else ()
        found += [f"{name} {word}" for word in below] or [name]
    return sorted(found)


@pytest.mark.skipif(not shutil.which("docker"), reason="needs docker's client")
@pytest.mark.parametrize("command", commands())
def test_every_flag_of_docker_itself(command):
    flags = set(docker_flags(*command.split()))
    unknown = flags - names_of(command)
    assert {flag for flag in unknown if later.flag(command, flag) is None} == set()


def test_a_reason_has_one_line():
    tables = [later.COMMANDS, *later.FLAGS.values()]
    reasons = [reason for table in tables for reason in table.values()]
    assert not [reason for reason in reasons if "\n" in "".join(filter(None, reason))]


def test_no_command_is_both_there_and_refused():
    assert not set(group.COMMANDS) & set(later.COMMANDS)
