"""How our commands differ from plain click ones: Docker's conventions for flags.

- A switch may be given a value: ``--rm=false``, ``--explain=json``.
- A flag of Docker's that minirun does not have is refused with a reason, not only as unknown
  (``later.py`` has the reasons).
"""

from __future__ import annotations

import click

from minirun.engine import later
from minirun.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRUE = {"true", "1", "t", "T", "TRUE", "True"}  # as Go's strconv.ParseBool, which Docker uses
FALSE = {"false", "0", "f", "F", "FALSE", "False"}


class Command(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, self._plain(args))
        except click.NoSuchOption as error:
            reason = later.flag(self.name or "", error.option_name)
            if reason is None:
                raise
            raise UsageError(f"{error.option_name}: {reason[0]}", hint=reason[1]) from None

    def _plain(self, args: list[str]) -> list[str]:
        """``args`` in click's own form. What follows the first word that is no option is left
        alone where the command does so too: it belongs to the program in the container."""
        options = {
            name: param
            for param in self.params
            if isinstance(param, click.Option)
            for name in param.opts
        }
        done: list[str] = []
        rest = list(args)
        while rest and rest[0] != "--" and (self._reads_on or rest[0].startswith("-")):
            word = rest.pop(0)
            name, equals, value = word.partition("=")
            option = options.get(name)
            if option and option.is_flag and equals:
                done += _switch(option, name, value)
                continue
            done.append(word)
            if rest and not equals and _wants_value(word, options):
                done.append(rest.pop(0))
        return done + rest

    @property
    def _reads_on(self) -> bool:
        return bool(self.context_settings.get("allow_interspersed_args", True))


def _switch(option: click.Option, name: str, value: str) -> list[str]:
    """A switch with a value, as words that click understands."""
    choices: Any = (option.metavar or "").split("|")
    if value in choices:  # --explain=json is also there as --explain-json, hidden
        return [f"{name}-{value}"]
    if value in TRUE:
        return [name]
    if value in FALSE:
        return option.secondary_opts[:1]  # --no-…, where false is not what goes without saying
    raise UsageError(f"{name}={value}: a switch is true or false")


def _wants_value(word: str, options: dict[str, click.Option]) -> bool:
    """Whether the value of ``word`` (an option, or several short ones in one) is the next word."""
    if word.startswith("--"):
        return word in options and not options[word].is_flag
    for index, letter in enumerate(word[1:], 2):
        option = options.get(f"-{letter}")
        if option and not option.is_flag:
            return index == len(word)  # otherwise the value follows in the same word: -m64m
    return False
