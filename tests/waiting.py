"""To wait for what other programs do, in tests: no longer than they need, and not for ever."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_for(condition: Callable[[], Answer], seconds: float = 30) -> Answer:
    """The condition's answer, once there is one that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.02)
    return answer


def grows(path: Path, seconds: float = 0.2) -> bool:
    """Whether somebody writes to a file."""
    before = path.stat().st_size if path.exists() else 0
    time.sleep(seconds)
    return path.exists() and path.stat().st_size > before
