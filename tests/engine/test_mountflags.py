"""What -v, --mount, --tmpfs and VOLUME mean: pure functions."""

import doctest
import os

import pytest

from minirun.engine import mountflags
from minirun.engine.mounts import add, add_to_bundle, check, entry, plan
from minirun.errors import ImageError, NotFound, UsageError

BIND = ["rbind", "rprivate"]


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(mountflags).failed == 0


@pytest.mark.parametrize(
    ("text", "kind", "what", "place", "options"),
    [
        ("/a:/b", "bind", "/a", "/b", BIND),
        ("/a:/b:ro", "bind", "/a", "/b", [*BIND, "rro"]),
        ("/a:/b:rw,rslave", "bind", "/a", "/b", ["rbind", "rslave"]),
        ("/a:/b:Z,cached", "bind", "/a", "/b", BIND),
        ("./a:/b", "bind", os.path.abspath("a"), "/b", BIND),
        ("../a:/b", "bind", os.path.abspath("../a"), "/b", BIND),
        (".:/b", "bind", os.getcwd(), "/b", BIND),
        ("~/a:/b", "bind", os.path.expanduser("~/a"), "/b", BIND),
        ("/a/../c:/b/./d/../e/", "bind", "/c", "/b/e", BIND),
        ("data:/b", "volume", "data", "/b", BIND),
        ("data:/b:ro,nocopy", "volume", "data", "/b", [*BIND, "rro"]),
        ("/b", "volume", "", "/b", BIND),
        ("/../../b", "volume", "", "/b", BIND),
    ],
)
def test_volumes(text, kind, what, place, options):
    mount = mountflags.volume(text)
    assert mount["type"] == kind and mount["destination"] == place and mount["options"] == options
    assert mount["source" if kind == "bind" else "name"] == what
    assert mount["rw"] is ("rro" not in options)


@pytest.mark.parametrize(
    "text",
    ["", ":", "/a:", ":/b", "/a:b", "data:b", "/a:/b:rx", "/a:/b:ro,rw", "/a:/b:shared,slave",
     "/a:/b:z,Z", "/a:/b:ro:ro", "/a:/b\0", "/a\0:/b", "/a:/", "data:/b/..", "/", "/a:/b:nocopy"],
)  # fmt: skip
def test_what_is_no_volume(text):
    with pytest.raises(UsageError):
        mountflags.volume(text)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("type=bind,source=/a,target=/b", {"type": "bind", "source": "/a", "options": BIND}),
        ("type=bind,src=/a,dst=/b,readonly", {"options": [*BIND, "rro"], "rw": False}),
        ("type=bind,src=a,dst=/b,ro=false", {"source": os.path.abspath("a"), "rw": True}),
        ("type=bind,src=/a,dst=/b,bind-propagation=rshared", {"options": ["rbind", "rshared"]}),
        ("type=bind,src=/a,dst=/b,bind-nonrecursive,ro", {"options": ["bind", "rprivate", "ro"]}),
        ("type=bind,src=/a,dst=/b,ro,bind-recursive=writable", {"options": [*BIND, "ro"]}),
        ("dst=/b", {"type": "volume", "name": "", "copy": True}),
        ("source=data,destination=/b,volume-nocopy", {"name": "data", "copy": False}),
        ("src=d1,dst=/b,volume-label=a=1,volume-label=c", {"labels": {"a": "1", "c": ""}}),
        ('src=d1,dst=/b,"volume-opt=o=x,y"', {"driverOptions": {"o": "x,y"}}),
        ("type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=0700,ro",
         {"options": ["noexec", "nosuid", "nodev", "rprivate", "size=1048576", "mode=0700", "ro"],
          "rw": False}),
    ],
)  # fmt: skip
def test_mounts_in_words(text, fields):
    mount = mountflags.words(text)
    assert mount["destination"] == "/b"
    assert {name: mount[name] for name in fields} == fields


@pytest.mark.parametrize(
    "text",
    ["", "type=bind", "type=bind,target=/b", "type=bind,source=/a", "type=nfs,target=/b",
     "type=bind,source=/a,target=b", "type=bind,source=/a,target=/b,tmpfs-size=1m",
     "type=tmpfs,source=/a,target=/b", "type=tmpfs,target=/b,tmpfs-mode=9", "target", '"a',
     "type=bind,source=/a,target=/b,readonly=maybe", "source=data,target=/b,volume-driver=nfs",
     "type=bind,source=/a,target=/b,bind-recursive=x", "source=data,target=/b,volume-subpath=x",
     "type=bind,source=/a,target=/b,bind-propagation=x", "type=tmpfs,target=/b,tmpfs-size=x"],
)  # fmt: skip
def test_what_is_no_mount(text):
    with pytest.raises(UsageError):
        mountflags.words(text)


@pytest.mark.parametrize("text", ["", "run", "/run:x", "/run:size", "/run:ro=1", "/"])
def test_what_is_no_tmpfs(text):
    with pytest.raises(UsageError):
        mountflags.tmpfs(text)


def test_the_options_of_a_tmpfs():
    mount = mountflags.tmpfs("/run:size=64m,exec,mode=755")
    assert entry(mount) == {
        "destination": "/run", "type": "tmpfs", "source": "tmpfs",
        "options": ["noexec", "nosuid", "nodev", "rprivate", "size=64m", "exec", "mode=755"],
    }  # fmt: skip


def of_image(*places):
    return mountflags.of_image({"config": {"Volumes": {place: {} for place in places}}})


def test_rt35_the_volumes_of_an_image_stay_inside_its_root():
    places = ["/../../srv", "/a/../../../srv/x", "relative", "a/./b/"]
    assert [m["destination"] for m in of_image(*places)] == ["/srv", "/srv/x", "/relative", "/a/b"]
    for place in ("/", "", "..", "/a/..", "/a\0b"):
        with pytest.raises(ImageError):
            of_image(place)
    with pytest.raises(ImageError):
        mountflags.of_image({"config": {"Volumes": ["/a"]}})
    assert mountflags.of_image({"config": {"Volumes": None}}) == []


def test_the_nearer_to_the_user_counts(capsys):
    options = {"volume": ("data:/a/b", "/srv:/a"), "tmpfs": ("/t",)}
    borrowed = [mountflags.volume("other:/a"), mountflags.volume("other:/o")]
    mounts = plan(options, borrowed, of_image("/a", "/t", "/o", "/own", "/proc/x", "/dev"))
    found = {m["destination"]: m.get("name", m["source"]) for m in mounts}
    assert found == {"/a": "/srv", "/o": "other", "/t": "", "/own": "", "/a/b": "data"}
    assert list(found)[-1] == "/a/b"  # inside another, so after it
    assert "/proc/x" in capsys.readouterr().err
    with pytest.raises(UsageError, match="duplicate mount point: /a"):
        plan({"volume": ("/srv:/a",), "tmpfs": ("/a/",)}, [], [])


def test_mounts_replace_those_of_every_container():
    def spec():
        places = ("/proc", "/dev", "/dev/shm", "/devices")
        return {"linux": {}, "mounts": [{"destination": place} for place in places]}

    def places(*texts):
        document = spec()
        add(document, [mountflags.volume(text) for text in texts])
        return [mount["destination"] for mount in document["mounts"]]

    assert places("/x:/dev/shm") == ["/proc", "/dev", "/devices", "/dev/shm"]
    assert places("/dev:/dev") == ["/proc", "/devices", "/dev"]
    shared = spec()
    add(shared, [mountflags.volume("/x:/x:rslave"), mountflags.volume("/y:/y:shared")])
    assert shared["linux"]["rootfsPropagation"] == "rshared"


def test_a_missing_source_is_an_error_and_not_a_new_directory(tmp_path):
    with pytest.raises(NotFound) as caught:
        check([mountflags.volume(f"{tmp_path}/typing-error:/x")])
    assert "mkdir" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_has_directories_of_the_host_and_no_volumes(tmp_path):
    spec = {"linux": {}, "mounts": []}
    add_to_bundle(spec, {"volume": (f"{tmp_path}:/a",), "tmpfs": ("/t",)})
    assert [mount["type"] for mount in spec["mounts"]] == ["bind", "tmpfs"]
    for text in ("data:/a", "/a"):
        with pytest.raises(UsageError, match="a bundle has no volumes"):
            add_to_bundle(spec, {"volume": (text,)})
