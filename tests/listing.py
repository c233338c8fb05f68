"""Machine code in our sources stands beside its assembly, as a comment: is it the same?"""

import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

LONGEST = 30  # characters of code before the comment of one instruction


def assemble(directory: Path, module: ModuleType, machine: str, after: list[str]) -> bytes:
    """What the assembler makes of the comments of ``module``'s table for ``machine``.

    ``after`` are the lines that stand behind them.
    """
    prefix = "" if machine == os.uname().machine else f"{machine}-linux-gnu-"
    if not shutil.which(f"{prefix}as"):
        pytest.skip(f"needs {prefix}as")
    text = Path(str(module.__file__)).read_text()
    part = text.partition("AARCH64 = ")[0 if machine == "x86_64" else 2]
    lines = [".intel_syntax noprefix"] if machine == "x86_64" else []
    for line in part.splitlines():
        code, hash_mark, comment = line.partition("#")
        if hash_mark and code.strip().startswith(('"', "0x")) and len(code) < LONGEST:
            lines.append(instruction(comment))
    source, assembled = directory / "listing.s", directory / "listing"
    source.write_text("\n".join([*lines, *after]) + "\n")
    subprocess.run([f"{prefix}as", "-o", f"{assembled}.o", source], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", "-j", ".text", f"{assembled}.o", assembled],
                   check=True)  # fmt: skip
    return assembled.read_bytes()


def instruction(comment: str) -> str:
    """ " next:  mov  rax, [rbx]      the call's number" without the words behind it."""
    words = comment.strip()
    first, colon, rest = words.partition(":")
    label = f"{first}: " if colon and first.isidentifier() else ""
    return label + (rest if label else words).strip().split("   ")[0]
