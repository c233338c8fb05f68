"""The keys that let go of a container without ending it: ``--detach-keys ctrl-p,ctrl-q``.

Interface: parse, Keys.
"""

from __future__ import annotations

from minirun.errors import UsageError, printable

DEFAULT = "ctrl-p,ctrl-q"
CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"  # ctrl and one of these is its place here; ascii(7)


class Keys:
    """Looks for a sequence of keys in what is typed.

    >>> keys = Keys(parse("ctrl-p,ctrl-q"))
    >>> keys.feed(b"ls\\x10"), keys.feed(b"\\x10x"), keys.feed(b"\\x10"), keys.pressed
    (b'ls', b'\\x10\\x10x', b'', False)
    >>> keys.feed(b"\\x11 not for the container"), keys.pressed
    (b'', True)
    """

    def __init__(self, sequence: bytes) -> None:
        self.sequence, self.pressed = sequence, False
        self._held = b""

    def feed(self, typed: bytes) -> bytes:
        """What of it, and of what was held back before, is for the container. What may turn out to
        be the sequence is held back; once it is complete, ``pressed`` is true."""
        data = self._held + typed
        before, found, _ = data.partition(self.sequence) if self.sequence else (data, b"", b"")
        if found:
            self.pressed, self._held = True, b""
            return before
        lengths = range(len(self.sequence) - 1, 0, -1)
        begun = next((n for n in lengths if data.endswith(self.sequence[:n])), 0)
        self._held = data[len(data) - begun :]
        return data[: len(data) - begun]


def parse(text: str) -> bytes:
    """The bytes that a terminal sends for keys such as ``ctrl-p,ctrl-q`` or ``a,b``; none for "".

    Raises UsageError.
    """
    return bytes(map(_key, text.split(","))) if text else b""


def _key(text: str) -> int:
    name = text.removeprefix("ctrl-").lower()
    if text.startswith("ctrl-") and len(name) == 1 and name in CONTROL:
        return CONTROL.index(name)
    if len(text) == 1 and text.isascii():
        return ord(text)
    raise UsageError(
        f"--detach-keys: {printable(text)[:40]!r} is no key", hint="for example ctrl-p,ctrl-q"
    )
