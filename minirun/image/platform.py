"""Which machine an image is for, and which image of an index is the one for this machine.

A platform is written ``os/architecture[/variant]``: ``linux/amd64``, ``linux/arm64/v8``. The same
machine goes by many names (the kernel's x86_64 is Go's amd64), so names are normalised first; and a
newer machine runs what was built for an older one, so there is an order of what will do. The rules
are containerd's (github.com/containerd/platforms).

>>> str(parse("aarch64"))
'linux/arm64'
>>> [str(p) for p in parse("linux/arm/v7").accepts()]
['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']
"""

from __future__ import annotations

import os
import re
from collections import namedtuple

from minirun.errors import PlatformError, UsageError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

# other name → (architecture, variant)
ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm", "v8"),
    "armv7l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "loongarch64": ("loong64", ""),
}
# architecture → its variants, oldest first; each runs what was built for those before it
VARIANTS = {
    "amd64": ("v1", "v2", "v3", "v4"),
    "arm": ("v5", "v6", "v7", "v8"),
    "arm64": ("v8", "v9"),
}
UNWRITTEN = {"amd64": "v1", "arm": "v7", "arm64": "v8"}  # meant where no variant is given
COMPATIBLE = {"amd64": ("386", ""), "arm64": ("arm", "v8")}  # also runs the older instruction set


class Platform(namedtuple("Platform", ("os", "architecture", "variant"))):
    """``variant`` is "" where the architecture has none, or the one that goes without saying."""

    __slots__ = ()
    os: str
    architecture: str
    variant: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def accepts(self) -> list[Platform]:
        """What a machine of this platform runs, best first."""
        found = [self]
        variants = VARIANTS.get(self.architecture, ())
        own = self.variant or UNWRITTEN.get(self.architecture, "")
        if own in variants:
            older = variants[: variants.index(own)]
            found += [normal(self.os, self.architecture, v) for v in reversed(older)]
        if self.architecture in COMPATIBLE:
            found += Platform(self.os, *COMPATIBLE[self.architecture]).accepts()
        return found


def normal(os: str, architecture: str, variant: str) -> Platform:
    """The platform under its usual names."""
    system, machine, variant = os.lower(), architecture.lower(), variant.lower()
    machine, implied = ALIASES.get(machine, (machine, ""))
    variant = variant or implied
    if variant.isdigit():
        variant = f"v{variant}"
    # 32-bit ARM machines differ too much for a variant to go unsaid
    if machine == "arm":
        return Platform(system, machine, variant or UNWRITTEN[machine])
    return Platform(system, machine, "" if variant == UNWRITTEN.get(machine) else variant)


def parse(text: str) -> Platform:
    """What ``--platform`` was given: ``os/architecture[/variant]``, or an architecture alone."""
    if not re.fullmatch(r"[\w-]+(/[\w-]+){0,2}", text, re.ASCII):
        raise UsageError(
            f"{printable(text)!r} is not a platform", hint="for example linux/amd64, linux/arm64/v8"
        )
    system, machine, variant = (*(text if "/" in text else f"linux/{text}").split("/"), "")[:3]
    return normal(system, machine, variant)


def host() -> Platform:
    """The platform of this machine, as the kernel tells it (uname(2))."""
    return normal("linux", os.uname().machine, "")


def of_config(config: Document) -> Platform:
    """The platform that a config document, or the ``platform`` of an index's entry, names."""
    return normal(
        config.get("os", ""), config.get("architecture", ""), config.get("variant") or ""
    )


def choose(entries: list[Document], wanted: Platform, what: str) -> Document:
    """The best of an index's descriptors for ``wanted``; ``what`` names the index in errors.

    Entries that are no images (an attestation says ``unknown/unknown``) match no platform. One
    that names no platform is taken if nothing better is there: its config will tell.
    """
    offered = [(of_config(e["platform"]), e) for e in entries if e.get("platform")]
    for platform in wanted.accepts():
        for offer, entry in offered:
            if offer == platform:
                return entry
    for entry in entries:
        if not entry.get("platform"):
            return entry
    raise unavailable(wanted, [offer for offer, _ in offered], what)


def unavailable(wanted: Platform, offered: list[Platform], what: str) -> PlatformError:
    names = sorted({str(offer) for offer in offered if offer.os not in ("unknown", "")})
    return PlatformError(
        f"{what}: no image for {wanted}; there is {printable(', '.join(names)) or 'none at all'}",
        hint=f"--platform {printable(names[0])} chooses another" if names else None,
    )
