"""The fixtures of the runtime's tests: a bundle, and the runtime under test ($OCI_RUNTIME)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.runtime import cgroup
from tests.runtime.bundles import Bundle, skip_without_root


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Bundle]:
    """A bundle that any runtime runs; its containers are deleted at the end."""
    skip_without_root()
    made = Bundle(tmp_path, os.environ.get("OCI_RUNTIME"))
    yield made
    made.close()


@pytest.fixture
def ours(bundle: Bundle) -> Bundle:
    """The same for tests of what only our runtime does or promises."""
    if bundle.runtime != "minirun-oci":
        pytest.skip("only of minirun-oci")
    return bundle


@pytest.fixture
def tidy(bundle: Bundle, request: pytest.FixtureRequest) -> None:
    """Our runtime leaves nothing behind; what the others leave is their business."""
    if bundle.runtime == "minirun-oci":
        request.getfixturevalue("residue")


@pytest.fixture
def group(residue) -> Iterator[cgroup.Cgroup]:
    """A cgroup of our own making, empty; killed and removed at the end."""
    skip_without_root()
    found = cgroup.prepare(None, f"test-{os.getpid()}", {})
    found.make()
    yield found
    found.kill()
    found.delete()
