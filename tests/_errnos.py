"""What each system call of the table may report, by the ERRORS sections of the man pages."""

from __future__ import annotations

import errno

_PATH = "EACCES ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR"
_CHANGE = f"{_PATH} EDQUOT EIO ENOSPC EPERM EROFS"

_NAMES = {
    "open": f"{_CHANGE} EBUSY EEXIST EFBIG EINTR EINVAL EISDIR EMFILE ENFILE ENODEV ENXIO"
    " EOPNOTSUPP EOVERFLOW ETXTBSY EWOULDBLOCK",
    "close": "EBADF EDQUOT EINTR EIO ENOSPC",
    "read": "EAGAIN EBADF EFAULT EINTR EINVAL EIO EISDIR ENXIO EOVERFLOW ESPIPE",
    "write": "EAGAIN EBADF EDQUOT EFAULT EFBIG EINTR EINVAL EIO ENOSPC EPERM EPIPE ESPIPE",
    "fsync": "EBADF EDQUOT EINTR EINVAL EIO ENOSPC EROFS",
    "fdatasync": "EBADF EDQUOT EINTR EINVAL EIO ENOSPC EROFS",
    "allocate": "EBADF EFBIG EINTR EINVAL EIO ENODEV ENOSPC ENOSYS EOPNOTSUPP EPERM ESPIPE ETXTBSY",
    "truncate": "EACCES EBADF EFBIG EINTR EINVAL EIO EISDIR EPERM EROFS ETXTBSY",
    "seek": "EBADF EINVAL ENXIO EOVERFLOW ESPIPE",
    "stat": f"{_PATH} EBADF EOVERFLOW",
    "rename": f"{_CHANGE} EBUSY EEXIST EINVAL EISDIR EMLINK ENOTEMPTY EXDEV",
    "unlink": f"{_PATH} EBUSY EIO EISDIR EPERM EROFS",
    "mkdir": f"{_CHANGE} EEXIST EINVAL EMLINK",
    "lock": "EBADF EINTR EINVAL ENOLCK EWOULDBLOCK",
    "map": "EACCES EAGAIN EBADF EINVAL ENFILE ENODEV ENOMEM EOVERFLOW EPERM ETXTBSY",
    "list": f"{_PATH} EBADF EMFILE ENFILE EIO",
    "random": "EFAULT EIO ENOSYS",
    "look": f"{_PATH} EBADF EOVERFLOW",
    "writable": f"{_PATH} EINVAL EIO EROFS ETXTBSY",
    "read_link": f"{_PATH} EINVAL EIO",
    "move": f"{_CHANGE} EBUSY EEXIST EINVAL EISDIR EMLINK ENOTEMPTY EXDEV",
    "move_new": f"{_CHANGE} EBUSY EEXIST EINVAL EISDIR EMLINK ENOSYS ENOTEMPTY EOPNOTSUPP EXDEV",
    "link": f"{_CHANGE} EEXIST EMLINK EXDEV",
    "chown": f"{_PATH} EBADF EIO EPERM EROFS",
    "chmod": f"{_PATH} EBADF EIO EPERM EROFS",
    "xattr_list": f"{_PATH} E2BIG EOPNOTSUPP ERANGE",
    "xattr_get": f"{_PATH} E2BIG ENODATA EOPNOTSUPP ERANGE",
    "xattr_set": f"{_CHANGE} EEXIST ENODATA EOPNOTSUPP ERANGE",
    "acl_copy": f"{_CHANGE} EEXIST ENODATA EOPNOTSUPP ERANGE",
    "direct": "EBADF EINVAL EPERM",
    "writeback": "EBADF EINVAL EIO ENOMEM ENOSPC ESPIPE",
    "duplicate": "EBADF EBUSY EINTR EMFILE",
    "hold": f"{_PATH} EINTR EMFILE ENFILE",
}

ERRNOS: dict[str, tuple[int, ...]] = {
    call: tuple(sorted({getattr(errno, name) for name in names.split()}))
    for call, names in _NAMES.items()
}
"""The errnos of each call; one that is not here (macOS's syncs) is never made on Linux."""

FALSE_ANSWERS = frozenset({("mkdir", errno.EEXIST), ("look", errno.ENOENT)})
"""Not failures but facts about names: where they are lies, nothing right can follow."""
