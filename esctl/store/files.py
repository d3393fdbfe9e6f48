"""Create files that appear complete under their final name or not at all; read files of segments."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from esctl.errors import SegmentError, UnavailableError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.store.segments import Segment

BYTES_PER_READ = 1024 * 1024
LOCK_SECONDS = 5.0  # much longer than it takes to remove drafts


@contextmanager
def draft_of(target: Path, draft: Path | None = None) -> Iterator[Path]:
    """An empty file (mode 0600) to write, which gets the name `target` when the block ends without error.

    `draft` is its name until then, so that it can be found after a kill; without it, the next draft for the same target
    removes what a killed one left. An existing file of that name is kept. Raises UsageError then, and UnavailableError
    if the folder cannot be written.
    """
    is_ours = draft is None  # the name is ours alone: it is removed even if a signal comes while it is created
    lock = _drafting(target) if draft is None else None
    draft = draft or target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.new")
    try:
        try:
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            is_ours = True
            if os.path.lexists(target):  # an early check; the link below decides
                raise FileExistsError
            yield draft
            sync(draft)
            os.link(draft, target, follow_symlinks=False)
            draft.unlink()  # before the sync: a loss of power could bring the name back, and nobody would remove it
            sync(target.parent)
        finally:
            for leftover in (
                (draft, *(Path(f"{draft}{end}") for end in ("-wal", "-shm", "-journal"))) if is_ours else ()
            ):
                leftover.unlink(missing_ok=True)
            if lock is not None:
                os.close(lock)
    except FileExistsError as error:
        raise UsageError(f"{target} exists already", why="name a file that does not exist") from error
    except OSError as error:
        raise UnavailableError(f"cannot write {target}", why=error.strerror or str(error)) from error


def _drafting(target: Path) -> int | None:
    """Remove the drafts of `target` that killed runs left, if nobody writes a draft in its folder now.

    Returns the folder's descriptor, whose shared lock says that somebody does; None if the folder cannot be locked.
    """
    try:
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):  # another run is at work here, or drafts stay: they are in nobody's way
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_draft = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}\.new(-wal|-shm|-journal)?").fullmatch
        for name in os.listdir(folder):
            if is_draft(name):
                os.unlink(name, dir_fd=folder)
    with suppress(OSError):  # the file system may have no locks, or another program may keep its own here
        _share(folder)
    return folder


def _share(folder: int) -> None:
    """Take the shared lock. Another run may have the folder for itself at this moment, to remove drafts: without the
    lock it would remove ours.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_draft_names(path: str) -> None:
    """Remove the names of drafts from a file that has its own name already, as a kill in `draft_of` can leave it."""
    folder, name = os.path.split(path)
    inode = os.stat(path).st_ino
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f".{name}.") and entry.name.endswith(".new") and entry.inode() == inode:
                Path(entry).unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Create a folder for the user alone, unless it is there; its name is durable."""
    if not path.is_dir():
        path.mkdir(mode=0o700, exist_ok=True)
        sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, durably. A missing file is no error, an unreachable folder is one."""
    try:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "its folder is not there")
        path.unlink(missing_ok=True)
        sync(path.parent)
    except OSError as error:
        raise UnavailableError(
            f"cannot remove {path}",
            why=f"{error.strerror or error}; restore its folder, or create it again if it is lost",
        ) from error


def read_part(path: Path, offset: int, size: int, segment: Segment, held: int | None = None) -> bytes:
    """Read bytes of a segment's file; `held` is its descriptor if it is open already. Raises SegmentError if the file
    is unreachable or has another size.
    """
    with _opened(path, segment, held) as descriptor:
        return os.pread(descriptor, size, offset)


def read_whole(path: Path, segment: Segment, held: int | None = None) -> Iterator[bytes]:
    """Read a segment's file, in parts."""
    with _opened(path, segment, held) as descriptor:
        for offset in range(0, segment.size, BYTES_PER_READ):
            yield os.pread(descriptor, BYTES_PER_READ, offset)


def descriptor_of(path: Path) -> int:
    """Open a segment's file, which must not be a link; a pipe in its place does not block. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def hold(path: Path) -> int:
    """Open a file with a shared lock, which says that a running process needs it: see `is_held`. A file system without
    locks gives none. Raises OSError.
    """
    descriptor = descriptor_of(path)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def is_held(path: Path) -> bool:
    """Whether a running process holds a file; the lock of a killed one has ended with it."""
    try:
        descriptor = descriptor_of(path)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # the file system has no locks
        return False
    else:
        return False
    finally:
        os.close(descriptor)


def most_descriptors(wanted: int) -> int:
    """How many files may be held open: half of what the process may open. If that is fewer than are wanted, it first
    gets as many as it can.
    """
    import resource  # noqa: PLC0415 - only a check of an archive in folders needs it

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft // 2 < wanted and soft not in (hard, resource.RLIM_INFINITY):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError):
            pass  # macOS allows fewer than it says
    return soft // 2 if soft != resource.RLIM_INFINITY else 2**31


@contextmanager
def _opened(path: Path, segment: Segment, held: int | None) -> Iterator[int]:
    """Open a segment's file, which must be a regular file and not a link."""
    try:
        descriptor = descriptor_of(path) if held is None else held
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != segment.size:
                raise _unreadable(segment, path, f"it has {status.st_size} bytes, and not {segment.size}")
            yield descriptor
        finally:
            if held is None:
                os.close(descriptor)
    except OSError as error:
        raise _unreadable(segment, path, error.strerror or str(error)) from error


def _unreadable(segment: Segment, path: Path, why: str) -> SegmentError:
    """The error for an unreadable segment, which says what can still be read."""
    return SegmentError(
        f"the segment {segment.name} cannot be read from {path}",
        why=f"{why}; all but positions {segment.first} to {segment.last} can still be read; restore the file",
        fix="esctl replay --hot-only",
        segment=segment.name,
        path=str(path),
        first=segment.first,
        last=segment.last,
    )
