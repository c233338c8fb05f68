"""What nothing needs any more: rmi beside containers, the prunes and their filters, df."""

import json

import pytest


def ids(minirun, *words):
    return minirun.ok("ps", "-a", "-q", "--no-trunc", *words).split()


def test_the_image_of_a_container_stays(minirun, residue):
    """CR08: created, running and stopped ones; forced, it loses its name and nothing else."""
    minirun.ok("create", "--name", "made", "tiny", "echo", "made")
    minirun.ok("run", "-d", "--name", "runs", "tiny", "sleep", "100")
    image = minirun.ok("images", "-q", "--no-trunc").strip()
    refused = minirun("rmi", "tiny")
    assert refused.returncode == 125 and "uses the image" in refused.stderr
    assert minirun.ok("rmi", "-f", "tiny").splitlines() == ["Untagged: localhost/tiny:latest"]
    refused = minirun("rmi", "-f", image)
    assert refused.returncode == 125 and "no name to lose" in refused.stderr
    minirun.ok("image", "prune", "-a", "-f")
    assert minirun.ok("exec", "runs", "cat", "/etc/os-release").startswith("ID=tiny")
    assert minirun.ok("start", "-a", "made") == "made\n"
    minirun.ok("commit", "runs", "mine")
    minirun.ok("rm", "-f", "made", "runs")
    pruned = minirun.ok("image", "prune", "-f")
    assert pruned.splitlines()[:2] == ["Deleted Images:", f"deleted: {image}"]
    assert minirun.ok("run", "--rm", "mine", "echo", "whole") == "whole\n"


def test_one_of_two_names_can_always_go(minirun, residue):
    minirun.ok("create", "tiny")
    minirun.ok("tag", "tiny", "other")
    assert minirun.ok("rmi", "other") == "Untagged: docker.io/library/other:latest\n"


def images_of(minirun, **labels):
    """An image for each label, made from one container; the newest last."""
    minirun.ok("run", "--name", "c", "tiny", "sh", "-c", "echo 1 > /f")
    for name, label in labels.items():
        minirun.ok("commit", "-c", f"LABEL team={label}", "c", name)
    minirun.ok("rm", "c")


def names(minirun):
    return set(minirun.ok("images", "--format", "{{.Repository}}").split())


@pytest.mark.parametrize(("words", "left"), [
    ([], {"a", "b", "localhost/tiny"}),
    (["-a"], set()),
    (["-a", "--filter", "label=team=red"], {"b", "localhost/tiny"}),
    (["-a", "--filter", "label!=team"], {"a", "b"}),
    (["-a", "--filter", "until=24h"], {"a", "b"}),
    (["--filter", "dangling=false"], set()),
    (["-a", "--filter", "until=24h", "--filter", "label=team"], {"a", "b", "localhost/tiny"}),
])  # fmt: skip
def test_image_prune_keeps_what_does_not_fit(minirun, words, left, residue):
    images_of(minirun, a="red", b="blue")
    minirun.ok("image", "prune", "-f", *words)
    assert names(minirun) == left
    for name in left:
        assert minirun.ok("run", "--rm", name, "echo", "whole") == "whole\n"


@pytest.mark.parametrize("words", [["nope=1"], ["until=x"], ["x"]])
def test_filters_that_make_no_sense_remove_nothing(minirun, words, residue):
    minirun.ok("create", "--name", "c", "tiny")
    for command in (["image", "prune", "-a"], ["container", "prune"], ["system", "prune", "-a"]):
        assert minirun(*command, "-f", "--filter", *words).returncode == 125
    assert len(ids(minirun)) == 1 and names(minirun) == {"localhost/tiny"}


def test_container_prune_leaves_those_that_run(minirun, residue):
    running = minirun.ok("run", "-d", "tiny", "sleep", "100").strip()
    made = minirun.ok("create", "-l", "keep", "tiny").strip()
    minirun.ok("run", "--name", "over", "tiny", "sh", "-c", "echo 12345 > /f")
    (over,) = ids(minirun, "-f", "name=over")
    said = minirun.ok("container", "prune", "-f", "--filter", "label!=keep")
    assert said == f"Deleted Containers:\n{over}\n\nTotal reclaimed space: 6B\n"
    assert minirun.ok("container", "prune", "-f").splitlines()[1] == made
    assert ids(minirun) == [running]
    assert minirun.ok("container", "prune", "-f") == "Total reclaimed space: 0B\n"
    minirun.ok("rm", "-f", running)


def test_system_prune_removes_all_that_nothing_needs(minirun, residue):
    images_of(minirun, a="red")
    minirun.ok("run", "--name", "over", "-v", "/anonymous", "-v", "named:/named", "tiny", "true")
    minirun.ok("system", "prune", "-f")
    assert ids(minirun) == [] and names(minirun) == {"a", "localhost/tiny"}
    assert len(minirun.ok("volume", "ls", "-q").split()) == 2
    minirun.ok("system", "prune", "-f", "--volumes")
    assert minirun.ok("volume", "ls", "-q").split() == ["named"]
    said = minirun.ok("system", "prune", "-f", "-a")
    assert "untagged: docker.io/library/a:latest" in said and "Total reclaimed space: " in said
    assert names(minirun) == set()
    store = minirun.root / "lib"
    assert list((store / "images/blobs/sha256").iterdir()) == []
    assert list((store / "layers").iterdir()) == []


def test_df_counts_what_there_is(minirun, residue):
    minirun.ok("run", "--name", "over", "-v", "named:/named", "tiny", "sh", "-c",
               "head -c 100000 /dev/zero > /f; head -c 2000 /dev/zero > /named/f")
    lines = minirun.ok("system", "df", "--format", "json").splitlines()
    kinds = {kind["Type"]: kind for kind in map(json.loads, lines)}
    assert kinds["Containers"] == {"Type": "Containers", "TotalCount": "1", "Active": "0",
                                   "Size": "100kB", "Reclaimable": "100kB (100%)"}
    assert kinds["Local Volumes"]["Size"] == "2kB" and kinds["Local Volumes"]["Active"] == "1"
    assert kinds["Images"]["Active"] == "1" and kinds["Images"]["Reclaimable"] == "0B (0%)"
    assert minirun.ok("system", "df").splitlines()[0].split() == [
        "TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert "localhost/tiny:latest" in minirun.ok("system", "df", "-v")


def test_the_unit_starts_this_program(minirun, tmp_path, residue):
    text = minirun.ok("system", "unit")
    assert f"ExecStart={minirun.command()[0]} system start" in text
    assert f"MINIRUN_ROOT={minirun.root}" in text and "WantedBy=multi-user.target" in text
