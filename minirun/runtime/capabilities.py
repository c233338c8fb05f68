"""Capabilities: root's power cut into pieces, of which a container gets a few (capabilities(7)).

A process has five sets of them, each a bit mask. ``bounding`` is the ceiling of what any execve(2)
may ever give back; ``permitted`` is what the process may use and ``effective`` what it does use;
``inheritable`` and ``ambient`` say what survives the execve(2) of a program by another user than
root. Which system calls take them away, and in which order, is in powers.py.

Interface: BITS, granted.
"""

from __future__ import annotations

from minirun import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

BITS = {name: 1 << bit for bit, name in enumerate(linux.CAPABILITIES)}
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def granted(wanted: Mapping[str, list[str] | None]) -> tuple[dict[str, int], list[str]]:
    """The five sets of a config.json as masks, and the names that cannot be granted here.

    Names that the kernel does not know, or powers that the runtime itself does not hold, are to be
    warned about and left out, not refused (runtime-spec, config.md, "Linux Process"): the
    container is only the weaker for it. The kernel's rules between the sets (capset(2)) are applied
    too, since of what breaks them it would say no more than EPERM.
    """
    _, held, _ = linux.capget()
    sets = dict.fromkeys(SETS, 0)
    ungranted = {}
    for kind in SETS:
        for name in wanted.get(kind) or ():
            bit = BITS.get(name, 0) & held
            sets[kind] |= bit
            if not bit:
                ungranted[name] = True
    sets["effective"] &= sets["permitted"]
    sets["inheritable"] &= sets["bounding"]
    sets["ambient"] &= sets["permitted"] & sets["inheritable"]
    return sets, list(ungranted)
