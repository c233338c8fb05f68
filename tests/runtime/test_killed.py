"""CR02, CR10, CR12: wherever a command of the runtime's is killed, delete --force clears up.

Each command is killed after a random part of the time that it takes, alone and with its children.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.runtime.bundles import Bundle

COMMANDS = {  # what is there before, and what is killed
    "create": ((), ("create", "ID")),
    "start": (("create",), ("start", "ID")),
    "run": ((), ("run", "--detach", "ID")),
    "exec": (("create", "start"), ("exec", "ID", "true")),
    "kill": (("create", "start"), ("kill", "ID", "KILL")),
    "delete": (("create", "start"), ("delete", "--force", "ID")),
}  # fmt: skip


def prepared(bundle: Bundle, before: tuple[str, ...]) -> None:
    for command in before:
        bundle.oci(command, bundle.id, check=True)


def killed(bundle: Bundle, words: tuple[str, ...], after: float, how: Callable) -> None:
    arguments = bundle.arguments(*(bundle.id if word == "ID" else word for word in words))
    process = subprocess.Popen(
        arguments, cwd=bundle.directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    time.sleep(after)
    how(process.pid, signal.SIGKILL)  # nobody has waited for it: the number is still its own
    process.wait()


@pytest.mark.parametrize("how", [os.kill, os.killpg], ids=["it alone", "with its children"])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("times", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_delete_force_clears_up_after_a_kill(ours, command, how, times, residue):
    before, words = COMMANDS[command]
    ours.process["args"] = ["sleep", "3600"]
    ours.write()
    lengths = []
    for _ in range(3):
        prepared(ours, before)
        start = time.monotonic()
        ours.oci(*(ours.id if word == "ID" else word for word in words), check=True)
        lengths.append(time.monotonic() - start)
        ours.oci("delete", "--force", ours.id, check=True)
    first = ours.id
    for number in range(times):
        ours.id = f"{first}-{number}"  # so that none clears up after another
        prepared(ours, before)
        killed(ours, words, random.uniform(0, min(lengths)), how)
        assert all(ours.oci("state", name).returncode == 0 for name in ours.listed())
        ours.oci("delete", "--force", ours.id, check=True)
        assert ours.listed() == []
