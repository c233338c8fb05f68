"""What the flags of ``run``, ``create`` and ``start`` say about the life of a container, checked.

Interface: check, attachment, make_attachment.
"""

from __future__ import annotations

from minirun.engine import logoptions, restart
from minirun.errors import UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.engine.attach import Attachment

STREAMS = {"stdin": b"i", "stdout": b"o", "stderr": b"e"}


def check(options: Mapping[str, Any]) -> None:
    """Refuse what makes no sense, or not together."""
    policy, _ = restart.parse(options["restart"])
    if options["rm"] and policy != "no":
        raise UsageError("--rm and --restart: what is removed is not started again")
    if options.get("detach") and options["attach"]:
        raise UsageError("-d and -a: attached or detached, not both")
    if options["stop_signal"]:
        from minirun.image.bundle import signal_number

        signal_number(options["stop_signal"])
    logoptions.size_and_files(options)
    if options["stop_timeout"]:
        seconds(options["stop_timeout"], "--stop-timeout")


def seconds(text: str, flag: str) -> float:
    """A number of seconds; -1 for no end of it."""
    number = text.removeprefix("-")
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise UsageError(f"{flag} {printable(text)[:40]!r} is not a number of seconds")
    return float(text)


def attachment(options: Mapping[str, Any]) -> Attachment | None:
    """How ``run`` is attached to its container; None with -d."""
    if options["detach"]:
        return None
    return make_attachment(
        streams(options),
        terminal=options["tty"],
        keys=options["detach_keys"],
        proxy=options["sig_proxy"],
        owns=True,
    )


def streams(options: Mapping[str, Any]) -> bytes:
    """Which streams: those that -a names, or output, with -i input, too."""
    named = [text.lower() for text in options["attach"]]
    for text in named:
        if text not in STREAMS:
            raise UsageError(f"-a {printable(text)[:40]!r}: it is stdin, stdout or stderr")
    if not named:
        return b"oei" if options["interactive"] else b"oe"
    return b"".join(STREAMS[text] for text in dict.fromkeys(named))


def make_attachment(wanted: bytes, *, terminal: bool, keys: str | None, **more: Any) -> Attachment:
    """An attachment; at a terminal input wants a terminal, too."""
    from minirun.engine.attach import Attachment
    from minirun.engine.keys import DEFAULT, parse

    if terminal and b"i" in wanted:
        from minirun.engine.terminal import check_interactive

        check_interactive()
    sequence = parse(DEFAULT if keys is None else keys)
    return Attachment(wanted, terminal=terminal, keys=sequence, **more)


def pid_writer(path: str | None) -> Callable[[int], None]:
    """What writes the number of the container's process to a file, if there is to be one."""

    def write(pid: int) -> None:
        if path:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(pid))

    return write
