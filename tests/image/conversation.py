"""How the tests of the registry client talk with its servers."""

import ssl

from minirun.image.credentials import Credential
from minirun.image.patience import Patience
from minirun.image.registries import Endpoint
from minirun.image.registry import Registry
from tests.image import fake_registry as fakes

HURRIED = Patience(connect=2, stall=0.3, tries=4, first_wait=0.01, longest_wait=0.5, in_all=3)
ACCEPT = [fakes.MANIFEST, fakes.INDEX]
ALICE = Credential("alice", "s3cret")
CONTENT = bytes(range(256)) * 4096  # a mebibyte


def client(fake, credential=None, patience=HURRIED, **options):
    return Registry(Endpoint(fake.host, "lib/app"), credential, patience=patience, **options)


def get_manifest(fake, target="latest", **options):
    with client(fake, **options) as registry:
        return registry.manifest(target, accept=ACCEPT)


def get_blob(fake, descriptor, offset=0, **options):
    with client(fake, **options) as registry:
        return read(registry, descriptor, offset)


def read(registry, descriptor, offset=0):
    return b"".join(registry.blob(descriptor, offset))


def said(server):
    """The Authorization of each request, in order."""
    return [request.headers.get("authorization") for request in server.requests]


def server_context(directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context
