"""A registry that errs: one clear error with a hint, 125, the store as before; then all is well.

What each fault does to the puller is tested in tests/image/; here it is what a person sees.
"""

import json

import pytest

from tests import images
from tests.image.fake_registry import Reply, chunked, endless, fake_registry, forever, status

REPOSITORY = "lib/app"


class Published:
    """The busybox image in a fake registry, and the documents that it consists of."""

    def __init__(self, fake) -> None:
        self.fake = fake
        self.name = f"{fake.host}/{REPOSITORY}:1"
        folder = images.layout("busybox")
        read = (folder / "blobs/sha256").joinpath
        index = json.loads((folder / "index.json").read_text())
        self.manifest = json.loads(read(index["manifests"][0]["digest"][7:]).read_text())
        self.layer = self.manifest["layers"][0]
        for part in (self.manifest["config"], self.layer):
            fake.blob(read(part["digest"][7:]).read_bytes(), REPOSITORY)
        self.publish()

    def publish(self) -> None:
        self.fake.manifest(REPOSITORY, "1", self.manifest)


def wrong_digest(image):
    good = image.fake.contents[f"/v2/{REPOSITORY}/blobs/{image.layer['digest']}"]
    image.fake.on(image.layer["digest"], forever(lambda *_: Reply(body=bytes(len(good.body)))))


def wrong_size(image):
    image.layer["size"] -= 1
    image.publish()


def wrong_diff_id(image):
    config = {"architecture": images.machine(), "os": "linux",
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "e" * 64]}}
    kind = image.manifest["config"]["mediaType"]
    image.manifest["config"] = image.fake.blob(json.dumps(config).encode(), REPOSITORY, kind)
    image.publish()


def never_ending(image):
    image.fake.on(image.layer["digest"], forever(endless()))


def cut_again_and_again(image):
    image.fake.on(image.layer["digest"], forever(chunked(b"")))


def rate_limited(image):
    image.fake.on("/manifests/", forever(status(429, Retry_After="0")))


def overloaded(image):
    image.fake.on("/manifests/", forever(status(503, Retry_After="0")))


def no_such_tag(image):
    del image.fake.contents[f"/v2/{REPOSITORY}/manifests/1"]


def forbidden(image):
    image.fake.on("/v2/", forever(status(403)))


def redirected_to_a_file(image):
    image.fake.on(image.layer["digest"], forever(status(307, Location="file:///etc/passwd")))


def realm_on_another_host(image):
    image.fake.challenge = 'Bearer realm="http://127.0.0.2:1/token",service="x"'
    image.fake.authorization = "Bearer nobody has it"


FAULTS = {
    wrong_digest: "sha256:",
    wrong_size: "bytes",
    wrong_diff_id: "unpacks to other bytes",
    never_ending: "longer than",
    cut_again_and_again: "early",
    rate_limited: "429",
    overloaded: "503",
    no_such_tag: "no such image or tag",
    forbidden: "",
    redirected_to_a_file: "URL",
    realm_on_another_host: "127.0.0.2",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_told_and_the_next_pull_works(minirun, fault, residue):
    before = minirun.ok("images")
    with fake_registry() as fake:
        image = Published(fake)
        fault(image)
        done = minirun("pull", image.name, timeout=120)
        assert done.returncode == 125, done.stderr
        assert "error: " in done.stderr and "hint: " in done.stderr, done.stderr
        assert FAULTS[fault] in done.stderr
        assert minirun.ok("images") == before
    with fake_registry(address=("127.0.0.1", int(fake.host.rpartition(":")[2]))) as fake:
        assert minirun.ok("run", "--rm", Published(fake).name, "id", "-u") == "0\n"
