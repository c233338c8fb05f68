"""Owner, mode, times and extended attributes: what a layer may say of a file besides its content.

All of it is set on an open descriptor, so never on something that took the name meanwhile.
See chown(2), chmod(2), utimensat(2), xattr(7), capabilities(7) "File capabilities".
"""

from __future__ import annotations

import errno
import os

from minirun.errors import LayerError
from minirun.image.pax import shown
from minirun.image.tarstream import SYMLINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.tarstream import Member

XATTR_NAME_MAX, XATTR_SIZE_MAX = 255, 65536  # limits.h of the kernel
CAPABILITY = b"security.capability"
DEFAULT_ACL = "system.posix_acl_default"
_OVERLAY = (b"trusted.overlay.", b"user.overlay.")
_NOT_HERE = (errno.ENOTSUP, errno.EPERM)  # not on this file system, or not on this kind of file


def set_attributes(target: int | str, member: Member) -> list[str]:
    """Make a file what its entry says it is. Returns warnings.

    ``target`` is open, or, where opening would do something (a device) or cannot be (a link), it is
    the ``tree.handle`` of what is open by O_PATH.
    """
    warnings = _set_owner(target, member)  # first: it takes away set-user-ID and capabilities
    if member.kind != SYMLINK:
        os.chmod(target, member.mode)
    if member.xattrs:
        warnings += _set_xattrs(target, member.xattrs)
    os.utime(target, ns=(member.mtime, member.mtime))
    return warnings


def _set_owner(target: int | str, member: Member) -> list[str]:
    """In a user namespace there may be no such owner: then it is root, who we are."""
    try:
        os.chown(target, member.uid, member.gid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return [f"owner {member.uid}:{member.gid} is not mapped in the user namespace: now root"]
    return []


def _set_xattrs(target: int | str, xattrs: dict[bytes, bytes]) -> list[str]:
    """What has no place here is left out with a warning; what cannot be is a LayerError."""
    warnings = []
    for name, value in xattrs.items():
        if not 0 < len(name) <= XATTR_NAME_MAX or b"\0" in name or len(value) > XATTR_SIZE_MAX:
            raise LayerError(f"an extended attribute that cannot be: {shown(name)}")
        if not is_portable(name):
            warnings.append(f"extended attribute {shown(name)} left out")
            continue
        try:
            os.setxattr(target, name, value)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise LayerError(f"extended attribute {shown(name)}: {error.strerror}") from error
            warnings.append(f"extended attribute {shown(name)}: {error.strerror}")
    return warnings


def is_portable(name: bytes) -> bool:
    """Whether an extended attribute is an image's business.

    Those of overlayfs would let it reach into other layers. Those of security modules belong to the
    policy of a machine; but for capabilities, which are a kind of mode.
    """
    return not name.startswith(_OVERLAY) and (
        name == CAPABILITY or not name.startswith(b"security.")
    )


def take_default_acl(directory: int) -> bytes | None:
    """Take away what new files in a directory would inherit (acl(5)); returns it, to be put back.

    What a layer says of a file is all there is to say of it, wherever it lies.
    """
    try:
        acl = os.getxattr(directory, DEFAULT_ACL)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return None
    os.removexattr(directory, DEFAULT_ACL)
    return acl
