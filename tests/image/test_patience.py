"""Bad moments are waited out, for a while (RG06)."""

import doctest
import time

import pytest

from minirun.errors import RateLimited, RegistryError
from minirun.image import patience
from tests.image.conversation import CONTENT, HURRIED, get_blob, get_manifest
from tests.image.fake_registry import cut, forever, hang, status

pytestmark = pytest.mark.usefixtures("alone")


def test_doctest():
    assert doctest.testmod(patience).failed == 0


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_rg06_a_bad_moment_is_waited_out(fake, code):
    digest = fake.manifest("lib/app", "latest", {"a": 1})
    layer = fake.blob(CONTENT)
    fake.on("/manifests/", status(code), status(code))
    fake.on("/blobs/", status(code), cut(0), hang(50))
    assert get_manifest(fake).digest == digest
    assert get_blob(fake, layer) == CONTENT


def test_rg06_503_for_ever(fake):
    fake.on("/manifests/", forever(status(503)))
    with pytest.raises(RegistryError, match=rf"{fake.host}: answers 503 .* \(4 tries\)") as caught:
        get_manifest(fake)
    assert caught.value.hint
    assert len(fake.requests) == 4


def test_rg06_429_tells_the_limit(fake):
    fake.on("/manifests/", forever(status(429, ratelimit_limit="100;w=21600",
                                          ratelimit_remaining="0;w=21600")))
    with pytest.raises(RateLimited, match="its limit is 100 in 6 hours, 0 left") as caught:
        get_manifest(fake)
    assert "log in" in caught.value.hint


@pytest.mark.parametrize(("after", "tries"), [
    ("0", 4), ("1000000000", 1), ("9" * 400, 1), ("Wed, 21 Oct 2099 07:28:00 GMT", 1),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 4), ("-5", 4), ("soon", 4), ("Wed, 99 Foo 9999", 4), ("١", 4),
])
def test_rg06_retry_after_is_obeyed_if_it_is_short(fake, after, tries):
    after = after.encode().decode("latin-1")
    fake.on("/manifests/", forever(status(429, Retry_After=after)))
    began = time.monotonic()
    with pytest.raises(RateLimited):
        get_manifest(fake)
    assert len(fake.requests) == tries
    assert time.monotonic() - began < 2


def test_rg06_waits_as_long_as_it_is_told(fake):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", status(503, Retry_After="1"))
    began = time.monotonic()
    get_manifest(fake, patience=HURRIED._replace(longest_wait=5))
    assert time.monotonic() - began > 1


def test_waits_are_told(fake):
    fake.manifest("lib/app", "latest", {"a": 1})
    fake.on("/manifests/", status(503))
    told = []
    get_manifest(fake, listener=told.append)
    assert [(each.request.partition(" ")[0], each.status) for each in told] == [
        ("GET", 0), ("GET", 503), ("wait", 0), ("GET", 200)]
