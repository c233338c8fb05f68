"""Going through trees that others made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirun.errors import StoreError
from minirun.image import tree, treecopy
from tests.image.trees import picture


def test_nothing_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "away")
    fd = tree.open_directory(str(tmp_path / "top"))
    with pytest.raises(NotADirectoryError):
        tree.open_directory("link", fd)
    with tree.Walk(fd) as walk, pytest.raises(NotADirectoryError):
        walk.down("link")
    tree.clear(fd)
    os.close(fd)
    assert os.listdir(tmp_path / "top") == []
    assert os.listdir(tmp_path / "away") == ["file"]


def test_the_way_up_leads_where_we_came_from(tmp_path: Path) -> None:
    (tmp_path / "top" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    fd = tree.open_directory(str(tmp_path / "top"))
    with tree.Walk(fd) as walk:
        walk.down("a")
        os.rename(tmp_path / "top" / "a", tmp_path / "elsewhere" / "a")
        with pytest.raises(StoreError, match="was moved"):
            walk.up()
    os.close(fd)


def test_removing(tmp_path: Path) -> None:
    fd = tree.open_directory(str(tmp_path))
    (tmp_path / "d" / "e" / "f").mkdir(parents=True)
    (tmp_path / "d" / "e" / "file").touch()
    os.chmod(tmp_path / "d" / "e", 0)
    for name in ("d", "none"):
        tree.remove(name, fd)
    (tmp_path / "spare" / "x").mkdir(parents=True)
    (tmp_path / "more" / "x").mkdir(parents=True)
    tree.clear(fd, spare="spare")
    os.close(fd)
    assert os.listdir(tmp_path) == ["spare"]
    assert os.listdir(tmp_path / "spare") == ["x"]
    tree.rmtree(str(tmp_path / "spare"))
    tree.rmtree(str(tmp_path / "spare"))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")
def test_a_copy_is_like_the_original(tmp_path: Path) -> None:
    from tests.image.test_layer import difficult_tree, rich_names

    difficult_tree(tmp_path / "one")
    rich_names(tmp_path / "one")
    (tmp_path / "two").mkdir()
    source, target = (tree.open_directory(str(tmp_path / name)) for name in ("one", "two"))
    treecopy.copy_tree(source, target)
    os.close(source)
    os.close(target)
    assert picture(tmp_path / "two") == picture(tmp_path / "one")
