"""Names of platforms, and the choice from an index: IM26."""

import doctest
import os

import pytest

from minirun.errors import PlatformError, UsageError
from minirun.image import platform
from minirun.image.platform import Platform, choose, parse


def test_the_examples_in_the_docstring():
    assert doctest.testmod(platform).failed == 0


@pytest.mark.parametrize("text, expected", [
    ("linux/amd64", "linux/amd64"),
    ("amd64", "linux/amd64"),
    ("x86_64", "linux/amd64"),
    ("linux/x86-64", "linux/amd64"),
    ("linux/amd64/v1", "linux/amd64"),
    ("linux/amd64/v3", "linux/amd64/v3"),
    ("linux/AMD64", "linux/amd64"),
    ("i386", "linux/386"),
    ("aarch64", "linux/arm64"),
    ("linux/arm64/v8", "linux/arm64"),
    ("linux/arm64/8", "linux/arm64"),
    ("linux/arm64/v9", "linux/arm64/v9"),
    ("arm", "linux/arm/v7"),
    ("armhf", "linux/arm/v7"),
    ("armel", "linux/arm/v6"),
    ("linux/arm/5", "linux/arm/v5"),
    ("armv7l", "linux/arm/v7"),
    ("riscv64", "linux/riscv64"),
    ("s390x", "linux/s390x"),
    ("windows/amd64", "windows/amd64"),
])  # fmt: skip
def test_one_machine_has_one_name(text, expected):
    """containerd's normalisation."""
    assert str(parse(text)) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "/amd64", "a/b/c/d", "linux/amd64/", "x y",
                                  "linux/../etc", "linux/\x1b[2J", "linux/amd64/v2/"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("wanted, accepts", [
    ("amd64", "amd64 386"),
    ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386"),
    ("arm64", "arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
    ("linux/arm64/v9", "arm64/v9 arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
    ("linux/arm/v6", "arm/v6 arm/v5"),
    ("riscv64", "riscv64"),
])  # fmt: skip
def test_newer_machines_run_what_is_for_older_ones(wanted, accepts):
    assert [str(p) for p in parse(wanted).accepts()] == [f"linux/{p}" for p in accepts.split()]


def entry(text, name=None):
    if text is None:
        return {"digest": name or "none"}
    os_, architecture, variant = (*text.split("/"), "")[:3]
    return {
        "digest": name or text,
        "platform": {"os": os_, "architecture": architecture, "variant": variant},
    }


@pytest.mark.parametrize("wanted, offered, expected", [
    ("amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
    ("amd64", ["linux/386", "linux/amd64"], "linux/amd64"),
    ("amd64", ["linux/arm64", "linux/386"], "linux/386"),
    ("amd64", ["linux/x86_64"], "linux/x86_64"),
    ("arm64", ["linux/arm/v7", "linux/arm64/v8"], "linux/arm64/v8"),
    ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], "linux/arm/v6"),
    ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
    ("amd64", ["unknown/unknown", "linux/amd64"], "linux/amd64"),
    ("amd64", [None, "linux/amd64"], "linux/amd64"),
    ("amd64", ["linux/arm64", None], "none"),
])  # fmt: skip
def test_the_best_that_there_is(wanted, offered, expected):
    """IM26."""
    assert choose([entry(o) for o in offered], parse(wanted), "x")["digest"] == expected


def test_the_first_of_equals_is_chosen():
    entries = [entry("linux/amd64", "one"), entry("linux/amd64", "two")]
    assert choose(entries, parse("amd64"), "x")["digest"] == "one"


@pytest.mark.parametrize("wanted, offered, listed", [
    ("amd64", ["linux/arm64/v8", "linux/arm/v6"], "linux/arm/v6, linux/arm64"),
    ("linux/arm/v6", ["linux/arm/v7"], "linux/arm/v7"),
    ("amd64", ["unknown/unknown"], "none at all"),
    ("amd64", ["windows/amd64"], "windows/amd64"),
    ("amd64", [], "none at all"),
])  # fmt: skip
def test_an_image_for_other_machines_says_for_which(wanted, offered, listed):
    """IM26."""
    with pytest.raises(PlatformError, match=f"no image for {parse(wanted)}; there is {listed}"):
        choose([entry(o) for o in offered], parse(wanted), "x")


def test_this_machine_has_a_platform():
    assert platform.host() == Platform("linux", *parse(os.uname().machine)[1:])
    assert platform.host().architecture != "x86_64"
