"""What passes as an index, a manifest, a config, and what is refused: IM20–IM30, by documents."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import ManifestError
from minirun.image import manifest as m

SCHEMAS = Path(__file__).resolve().parents[3] / "shared/testdata/image-spec"
DIGEST = "sha256:" + "a" * 64


def descriptor(media_type, **more):
    return {"mediaType": media_type, "digest": DIGEST, "size": 7, **more}


def a_manifest(**more):
    return {
        "schemaVersion": 2,
        "mediaType": m.OCI_MANIFEST,
        "config": descriptor(m.OCI_CONFIG),
        "layers": [descriptor(m.OCI_LAYER + "+gzip"), descriptor(m.OCI_LAYER + "+zstd")],
        **more,
    }


def an_index(**more):
    entry = descriptor(m.OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"})
    return {"schemaVersion": 2, "mediaType": m.OCI_INDEX, "manifests": [entry], **more}


def a_config(**more):
    return {
        "created": "2026-01-01T00:00:00Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "User": "1000",
            "Env": ["PATH=/bin"],
            "Entrypoint": ["/bin/sh"],
            "Cmd": ["-l"],
            "WorkingDir": "/",
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]},
        "history": [{"created_by": "one"}, {"empty_layer": True}, {"created_by": "two"}],
        **more,
    }


def check(kind, document):
    if kind == "manifest":
        m.check_media_type(document, m.OCI_MANIFEST, "x")
        m.check_manifest(document, "x")
    elif kind == "index":
        m.check_media_type(document, m.OCI_INDEX, "x")
        m.check_index(document, "x")
    else:
        m.check_config(document, "x", 2)


DOCUMENTS = {"manifest": a_manifest, "index": an_index, "config": a_config}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_an_ordinary_document_passes(kind):
    check(kind, DOCUMENTS[kind]())


def places(value, path=()):
    """The path of every value within a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def replaced(document, path, value):
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


SUBSTITUTES = (None, True, -1, 1 << 70, 0.5, "", "x", "\0", [], [None], {}, {"x": None}, [[]])


def validator(kind):
    """The image spec's own JSON schema for this kind of document."""
    jsonschema = pytest.importorskip("jsonschema")
    if not SCHEMAS.exists():
        pytest.skip(f"the image spec's schemas are not at {SCHEMAS}")
    schemas = {p.name: without_ids(json.loads(p.read_text())) for p in SCHEMAS.glob("*.json")}
    name = {"manifest": "image-manifest-schema", "index": "image-index-schema"}.get(kind)
    base = f"http://spec/{name or 'config-schema'}.json"
    store = {f"http://spec/{name}": schema for name, schema in schemas.items()}
    resolver = jsonschema.RefResolver(base, store[base], store)
    return jsonschema.Draft4Validator(store[base], resolver=resolver)


def without_ids(schema):
    """The schemas refer to each other by file, but their ids say that they lie elsewhere."""
    if isinstance(schema, list):
        return [without_ids(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_ids(inner)
        for key, inner in schema.items()
        if key != "id" or not isinstance(inner, str)
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_nothing_passes_that_the_spec_forbids(kind):
    """IM27: every value of each document replaced by null, by wrong types, by strange strings.

    What the checks let pass, the spec's schema lets pass too; null, which Docker writes for what is
    not there, is the exception that config.md makes and its schema forgets.
    """
    schema = validator(kind)
    original = DOCUMENTS[kind]()
    assert schema.is_valid(original)
    refused = 0
    for path in places(original):
        for value in SUBSTITUTES:
            document = replaced(original, path, value)
            try:
                check(kind, document)
            except ManifestError:
                refused += 1
            else:
                if value is not None and not lenient(path, value):
                    errors = [f"{list(e.path)}: {e.message}" for e in schema.iter_errors(document)]
                    assert not errors, f"{path} = {value!r} passed"
    assert refused > 100


def lenient(path, value):
    """What minirun allows although the schema does not: no layers, and what it never reads."""
    if path == ("layers",):
        return value == []  # an image with no files
    return path[:2] in {("config", "ExposedPorts"), ("config", "Volumes")} or (
        path[0] == "history" and path[-1] == "empty_layer"
    )


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(DIGEST),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "platform",
                         "os", "digest", "size", "rootfs", "diff_ids", "history", "type"]), inner),
    max_leaves=20,
))
def test_any_json_ends_in_an_answer_or_a_manifest_error(value):
    """IM27, by generation: no other exception, whatever the document."""
    for kind in DOCUMENTS:
        try:
            check(kind, m.parse(json.dumps(value).encode(), "x"))
        except ManifestError as error:
            assert str(error).startswith("x")


@pytest.mark.parametrize("data, reason", [
    (b"", "not valid JSON"),
    (b"[]", "not a JSON object"),
    (b'\xef\xbb\xbf{"schemaVersion": 2}', "not valid JSON"),
    (b'{"a": "\xff"}', "not valid JSON"),
    (b'{"layers": [], "layers": []}', "'layers' is given twice"),
    (b'{"a": {"b": 1, "b": 2}}', "'b' is given twice"),
    (b'{"a": NaN}', "not valid JSON"),
    (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not valid JSON"),
    (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper"),
    (b'{"a": "' + b"x" * (4 << 20) + b'"}', "more than"),
    (b'{"\x1b[2J": 1, "\\u001b[2J": 2}', "not valid JSON"),
])  # fmt: skip
def test_json_that_two_readers_could_read_differently_is_refused(data, reason):
    """IM27, IM28: byte order mark, keys given twice, numbers and nesting beyond measure."""
    with pytest.raises(ManifestError, match=reason) as caught:
        m.parse(data, "x")
    assert "\x1b" not in str(caught.value)


BAD_DIGESTS = (
    "", "sha256", "sha256:", "sha256:../../../etc/passwd", "sha256:" + "A" * 64,
    "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:" + "a" * 63 + "g", "md5:" + "a" * 32,
    "sha512:" + "a" * 64, "a" * 64, "sha256:" + "a" * 64 + "\n", "sha256:" + "٣" * 64,
    "sha256-" + "a" * 64, "SHA256:" + "a" * 64, "../sha256:" + "a" * 64, None, 7, [], {},
)  # fmt: skip


@pytest.mark.parametrize("digest", BAD_DIGESTS)
def test_a_digest_is_checked_before_it_is_part_of_any_path(digest):
    """IM22: in every place where a document holds a digest."""
    with pytest.raises(ManifestError):
        m.check_digest(digest, "x")
    for kind, path in [
        ("manifest", ("config", "digest")), ("manifest", ("layers", 1, "digest")),
        ("index", ("manifests", 0, "digest")), ("config", ("rootfs", "diff_ids", 1)),
    ]:  # fmt: skip
        with pytest.raises(ManifestError):
            check(kind, replaced(DOCUMENTS[kind](), path, digest))


def test_the_digests_of_the_spec_pass():
    for digest in (DIGEST, "sha512:" + "0" * 128):
        assert m.check_digest(digest, "x") == digest


@pytest.mark.parametrize("size", [-1, 1 << 63, 1.0, True, None, "7"])
def test_an_impossible_size_is_refused(size):
    """IM21."""
    with pytest.raises(ManifestError, match="impossible size"):
        m.check_descriptor(descriptor(m.OCI_CONFIG) | {"size": size}, "x")


@pytest.mark.parametrize("kind, change", [
    ("manifest", {"manifests": []}),
    ("index", {"layers": []}),
    ("index", {"config": {}}),
    ("manifest", {"mediaType": m.OCI_INDEX}),
    ("index", {"mediaType": m.OCI_MANIFEST}),
    ("manifest", {"schemaVersion": 3}),
    ("manifest", {"schemaVersion": True}),
    ("manifest", {"mediaType": "text/html"}),
])  # fmt: skip
def test_what_could_be_two_things_is_refused(kind, change):
    """IM24: a document with layers and manifests, or one that says it is something else."""
    with pytest.raises(ManifestError):
        check(kind, DOCUMENTS[kind](**change))


@pytest.mark.parametrize("sent", [m.DOCKER_MANIFEST, m.OCI_INDEX, "text/html"])
def test_a_document_that_is_sent_as_something_else_is_refused(sent):
    """IM24: the Content-Type and the document must agree."""
    with pytest.raises(ManifestError, match="was sent as"):
        m.check_media_type(a_manifest(), sent, "x")


@pytest.mark.parametrize("annotations", [None, [], "x", {"a": 1}, {"a": None}, {"a": "\0"}])
def test_annotations_are_text(annotations):
    with pytest.raises(ManifestError, match="malformed annotations"):
        m.check_descriptor(descriptor(m.OCI_CONFIG, annotations=annotations), "x")


def test_the_content_type_may_be_silent_and_the_document_too_but_not_both():
    silent = a_manifest()
    del silent["mediaType"]
    assert m.check_media_type(silent, m.OCI_MANIFEST, "x") == m.OCI_MANIFEST
    assert m.check_media_type(a_manifest(), "application/json", "x") == m.OCI_MANIFEST
    with pytest.raises(ManifestError, match="unknown media type"):
        m.check_media_type(silent, "application/json", "x")


@pytest.mark.parametrize("document", [
    {"schemaVersion": 1, "name": "old", "fsLayers": [], "signatures": []},
    {"schemaVersion": 2, "fsLayers": []},
])  # fmt: skip
def test_schema_1_is_refused_with_a_way_out(document):
    """IM24."""
    with pytest.raises(ManifestError, match="schema 1") as caught:
        m.check_media_type(document, "application/vnd.docker.distribution.manifest.v1+json", "x")
    assert "skopeo" in caught.value.hint


def test_a_chart_or_a_signature_is_no_image():
    """IM24: an unknown config type is refused by name."""
    chart = "application/vnd.cncf.helm.config.v1+json"
    with pytest.raises(ManifestError, match=r"helm\.config"):
        check("manifest", a_manifest(config=descriptor(chart)))


@pytest.mark.parametrize("media_type", [
    "application/vnd.oci.image.layer.v1.tar+xz",
    "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
])  # fmt: skip
def test_unknown_layers_are_refused(media_type):
    with pytest.raises(ManifestError, match="unknown media type"):
        check("manifest", a_manifest(layers=[descriptor(media_type)]))


@pytest.mark.parametrize("url", [
    "http://127.0.0.1/x", "https://evil.example/x", "http://169.254.169.254/", "file:///etc/shadow",
])  # fmt: skip
def test_a_layer_from_elsewhere_is_refused(url):
    """IM29: nothing is ever fetched from an address that a manifest names."""
    layer = descriptor(m.OCI_LAYER, urls=[url])
    with pytest.raises(ManifestError, match="from elsewhere"):
        check("manifest", a_manifest(layers=[layer]))


@pytest.mark.parametrize("data", ["e30=", "not base64", "", "AAAA" * 1000])
def test_data_in_a_descriptor_changes_nothing(data):
    """IM30: content that comes within the descriptor is not used, so it can do no harm."""
    document = a_manifest(config=descriptor(m.OCI_CONFIG, data=data))
    check("manifest", document)


def test_too_many_layers_are_refused():
    """IM25: also when it is the same one every time."""
    layer = descriptor(m.OCI_LAYER)
    check("manifest", a_manifest(layers=[layer] * 500))
    with pytest.raises(ManifestError, match="501 layers"):
        check("manifest", a_manifest(layers=[layer] * 501))


def test_a_config_beyond_measure_is_refused():
    """IM28."""
    config = descriptor(m.OCI_CONFIG) | {"size": m.MAX_DOCUMENT + 1}
    with pytest.raises(ManifestError, match="config of"):
        check("manifest", a_manifest(config=config))


@pytest.mark.parametrize("change", [
    {"rootfs": {"type": "layers", "diff_ids": [DIGEST]}},
    {"rootfs": {"type": "layers", "diff_ids": [DIGEST] * 3}},
    {"history": [{}, {}, {}]},
])  # fmt: skip
def test_a_config_and_its_manifest_count_the_same_layers(change):
    """IM23."""
    with pytest.raises(ManifestError):
        check("config", a_config(**change))


def test_docker_leaves_out_empty_lists_and_writes_null():
    config = a_config(rootfs={"type": "layers"}, history=None, config=None)
    m.check_config(config, "x", 0)
    m.check_config(a_config(config=dict.fromkeys(m.DEFAULTS)), "x", 2)


def test_errors_show_no_control_characters():
    """IM19: what an image says about itself must not move a terminal's cursor."""
    for document in (a_config(config={"User": 7, "Env": ["\x1b[2J", 7]}),
                     a_config(history=[{"created_by": ["\x1b]0;x\x07"]}])):
        with pytest.raises(ManifestError) as caught:
            check("config", document)
        assert str(caught.value).isprintable()
