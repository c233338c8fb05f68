"""The two kinds of our commands, for click: those with a table of options, and plain ones."""

from __future__ import annotations

import sys

import click

from minirun.engine import flags, later
from minirun.errors import Error, UsageError, render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType


class TableCommand(click.Command):
    """A command whose module has OPTIONS, ARGUMENTS and main(); click only shows its help."""

    def __init__(self, name: str, module: ModuleType) -> None:
        super().__init__(
            name,
            help=module.main.__doc__,
            epilog=module.EPILOG,
            params=[_shown(option, name) for option in module.OPTIONS],
            options_metavar="[OPTIONS] " + " ".join(module.ARGUMENTS),
        )
        self.module = module

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        return ["--help"]  # -h is the hostname, as in Docker

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return args

    def invoke(self, ctx: click.Context) -> int:
        try:
            return int(self.module.main(ctx.obj, ctx.args))
        except flags.HelpWanted:
            click.echo(self.get_help(ctx))
            return 0


def _shown(option: flags.Option, command: str) -> click.Option:
    value = option.metavar
    if option.alone:
        value = f"[={value}]"
    return click.Option(
        [*option.names],
        is_flag=option.is_switch,
        metavar=value,
        help=option.help,
        hidden=later.flag(command, option.names[0]) is not None,
    )


class Command(click.Command):
    """A plain click command. What Docker has and it has not is refused with the reason."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            reason = later.flag(ctx.command_path.partition(" ")[2], error.option_name)
            if reason is None:
                raise
            raise UsageError(f"{error.option_name}: {reason[0]}", hint=reason[1]) from None


def for_each(names: Iterable[str], do: Callable[[str], object]) -> int:
    """Do a thing to each of ``names``, and print it once that is done. What fails is told, and
    keeps nothing of the rest from being done; the exit code is that of the last failure."""
    code = 0
    for name in names:
        try:
            do(name)
            print(name, flush=True)
        except Error as error:
            click.echo(render(error), err=True)
            code = error.exit_code
    return code


def confirm(question: str, force: bool) -> None:
    """Ask, if there is somebody to ask and nothing has said yes already."""
    if not force and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)
