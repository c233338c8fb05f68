"""Flags as Docker's users write them."""

import re

import click
import pytest

from minirun.engine import flags, group, later
from minirun.engine.commands import bundle, pull, run
from minirun.engine.flags import HelpWanted, Option
from minirun.errors import UsageError

TABLE = (
    Option("--rm"),
    Option("-i", "--interactive"),
    Option("-t", "--tty"),
    Option("-e", "--env", metavar="X", many=True),
    Option("-m", "--memory", metavar="X"),
    Option("--pull", metavar="X", choices=("always", "never"), default="always"),
    Option("--verify", default=True),
    Option("--explain", metavar="X", choices=("text", "json"), alone="text"),
)
DEFAULTS = {"rm": False, "interactive": False, "tty": False, "env": (), "memory": None,
            "pull": "always", "verify": True, "explain": None}  # fmt: skip


def parsed(line, names=("IMAGE", "[COMMAND...]")):
    values, arguments = flags.parse("run", TABLE, names, line.split())
    return {key: value for key, value in values.items() if value != DEFAULTS[key]}, arguments


@pytest.mark.parametrize(("line", "values", "arguments"), [
    ("x", {}, ["x"]),
    ("--rm x --rm", {"rm": True}, ["x", "--rm"]),
    ("--rm=true x", {"rm": True}, ["x"]),
    ("--rm --rm=false x", {}, ["x"]),
    ("--verify=0 x", {"verify": False}, ["x"]),
    ("-it x", {"interactive": True, "tty": True}, ["x"]),
    ("-ite A=1 x", {"interactive": True, "tty": True, "env": ("A=1",)}, ["x"]),
    ("-iteA=1 x", {"interactive": True, "tty": True, "env": ("A=1",)}, ["x"]),
    ("-e A -e=B=2 --env C=3 --env=D= x", {"env": ("A", "B=2", "C=3", "D=")}, ["x"]),
    ("-m64m x", {"memory": "64m"}, ["x"]),
    ("-m --rm x", {"memory": "--rm"}, ["x"]),
    ("-m 1g -m 2g x", {"memory": "2g"}, ["x"]),
    ("--explain x", {"explain": "text"}, ["x"]),
    ("--explain=json x", {"explain": "json"}, ["x"]),
    ("--pull never x -- y", {"pull": "never"}, ["x", "--", "y"]),
    ("--rm -- --rm", {"rm": True}, ["--rm"]),
    ("- -i", {}, ["-", "-i"]),
    ("x sh -c ls", {}, ["x", "sh", "-c", "ls"]),
    ("x --help", {}, ["x", "--help"]),
])  # fmt: skip
def test_what_lines_mean(line, values, arguments):
    assert parsed(line) == (values, arguments)


def test_without_an_open_end_options_may_follow():
    assert parsed("x --rm", ("IMAGE",)) == ({"rm": True}, ["x"])
    assert parsed("x -- --rm", ("A", "B")) == ({}, ["x", "--rm"])


@pytest.mark.parametrize("line", [
    "", "--rm", "--nope x", "-Z x", "-iZ x", "--rm=maybe x", "--rm= x", "-m", "-e", "--memory",
    "--pull sometimes x", "--explain=xml x", "--=x y", "-i= x", "-- ",
])  # fmt: skip
def test_what_lines_do_not_mean(line):
    with pytest.raises(UsageError):
        parsed(line)


def test_too_many_arguments():
    with pytest.raises(UsageError, match="too many"):
        parsed("x y", ("IMAGE",))


def test_a_flag_of_docker_is_refused_with_the_reason_and_others_with_a_guess():
    with pytest.raises(UsageError) as caught:
        parsed("-it --isolation=x y")
    assert caught.value.message == "--isolation: only Windows has it"
    with pytest.raises(UsageError) as caught:
        parsed("--memroy 1g x")
    assert caught.value.hint == "did you mean --memory?"


def test_help_is_wanted_only_before_the_image():
    with pytest.raises(HelpWanted):
        parsed("--rm --help")


@pytest.mark.parametrize("module", [run, bundle, pull])
def test_the_help_shows_every_option_that_is_not_refused(module):
    name = module.__name__.rpartition(".")[2]
    command = group.cli.get_command(None, name)
    text = command.get_help(click.Context(command, info_name=name))
    for option in module.OPTIONS:
        assert option.help
        for option_name in option.names:
            shown = re.search(rf"(^|[ ,]){option_name}[ ,\n]", text, re.MULTILINE)
            assert bool(shown) is (later.flag(name, option_name) is None), option_name


def test_an_option_of_run_that_a_bundle_has_no_use_for():
    with pytest.raises(UsageError, match="--rm: a bundle has no engine"):
        flags.parse("bundle", bundle.OPTIONS, bundle.ARGUMENTS, ["--rm", "x", "y"])


def test_no_two_options_share_a_name_or_a_key():
    for module in (run, bundle, pull):
        names = [name for option in module.OPTIONS for name in option.names]
        keys = [option.key for option in module.OPTIONS]
        assert len(set(names)) == len(names) and len(set(keys)) == len(keys)
