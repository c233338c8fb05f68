"""Copy a tree, with all that a tree has: owners, modes, times, extended attributes, hard links.

Content is shared with the original where the file system can do that (copy_file_range(2)).
"""

from __future__ import annotations

import os
import stat

from minirun import linux
from minirun.image import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    Links = dict[tuple[int, int], str]  # (device, inode) of the original → path in the copy


def copy_tree(source: int, target: int) -> None:
    """Copy all that is in one open directory, and what it is itself, to another, empty one."""
    links: Links = {}
    path: list[str] = []
    with tree.Walk(source) as old, tree.Walk(target) as new:
        todo = [_copy_files(old.fd, new.fd, target, path, links)]
        while todo:
            if todo[-1]:
                path.append(todo[-1].pop())
                os.mkdir(path[-1], 0o700, dir_fd=new.fd)
                old.down(path[-1])
                new.down(path[-1])
                todo.append(_copy_files(old.fd, new.fd, target, path, links))
                continue
            tree.copy_attributes(old.fd, new.fd)  # last, because filling it changed its times
            todo.pop()
            if todo:
                path.pop()
                old.up()
                new.up()


def _copy_files(old: int, new: int, root: int, path: list[str], links: Links) -> list[str]:
    """Copy what is not a directory; returns the names of the directories."""
    directories = []
    for name in os.listdir(old):
        status = os.stat(name, dir_fd=old, follow_symlinks=False)
        key = (status.st_dev, status.st_ino)
        if stat.S_ISDIR(status.st_mode):
            directories.append(name)
        elif key in links:
            _link(links[key], root, name, new)
        else:
            _copy_file(name, old, new, status)
            if status.st_nlink > 1:
                links[key] = "/".join([*path, name])
    return directories


def _link(first: str, root: int, name: str, new: int) -> None:
    """Another name for a file that is in the copy already. Who else writes there may swap the
    directories on the way for links: they lead nowhere else."""
    parent, _, old_name = first.rpartition("/")
    resolve = linux.RESOLVE_BENEATH | linux.RESOLVE_NO_SYMLINKS
    old = linux.openat2(root, parent or ".", os.O_PATH | os.O_DIRECTORY, resolve=resolve)
    try:
        os.link(old_name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
    finally:
        os.close(old)


def _copy_file(name: str, old: int, new: int, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=old)
        try:
            tree.copy_file(source, name, new)
        finally:
            os.close(source)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=new)
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=new)
    try:
        tree.apply_status(tree.handle(fd), status)
    finally:
        os.close(fd)
