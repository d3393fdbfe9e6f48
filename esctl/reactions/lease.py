"""One runner at a time: a lock that the handlers inherit, and a lease in the log.

The lock is on a file beside the log. A runner that was killed leaves its handlers running; these still have the lock,
so no other runner starts the same event beside them. The lease is for a log that several machines reach, where a lock
may not reach.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from esctl.errors import UnavailableError
from esctl.events.times import clock_text
from esctl.log import EventLog
from esctl.store.errors import BUSY
from esctl.store.format import MEMORY
from esctl.store.reactions import Reaction

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
POLL_SECONDS = 0.05


def holder() -> str:
    """The name of this process for others."""
    return f"{socket.gethostname()} {os.getpid()}"


def is_held(reaction: Reaction, now: float) -> bool:
    """Whether a process says that it runs a reaction; it may have been killed meanwhile."""
    return reaction.token is not None and reaction.lease is not None and reaction.lease > clock_text(now)


def is_running(log: EventLog, reaction: Reaction) -> bool:
    """Whether a process runs a reaction, or a handler of one that was killed. Of this machine, the lock tells."""
    if not _is_here(reaction) or log.path == MEMORY:
        return is_held(reaction, time.time())
    try:
        descriptor = os.open(_path(log, reaction.name, reaction.part), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return is_held(reaction, time.time())
    finally:
        os.close(descriptor)
    return False


def _is_here(reaction: Reaction) -> bool:
    """Whether the last process that ran a reaction was one of this machine."""
    return (reaction.holder or "").rpartition(" ")[0] == socket.gethostname()


def _path(log: EventLog, name: str, part: int) -> str:
    return f"{os.path.realpath(log.path)}-{name}.{part}.lock"


@contextmanager
def locked(log: EventLog, name: str, part: int, seconds: float) -> Iterator[None]:
    """A block that one process at a time is in, and its children. Raises UnavailableError if that takes too long."""
    if log.path == MEMORY:
        yield
        return
    path = _path(log, name, part)
    descriptor = _opened(path, name, time.monotonic() + seconds)
    try:
        os.set_inheritable(descriptor, True)
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)  # still locked: whoever waits for it notices that it is gone
        os.close(descriptor)


def _opened(path: str, name: str, deadline: float) -> int:
    """The descriptor of a file that is locked, and has this path."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"cannot write {path}", why=error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                why = _who_has(descriptor) or "another process runs it, or a handler of one that was killed"
                os.close(descriptor)
                raise UnavailableError(f"the reaction {name} is running", why=why, code=BUSY) from None
            time.sleep(POLL_SECONDS)
        except OSError:  # a file system without locks: only the lease protects
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _who_has(descriptor: int) -> str:
    """Which other processes have a file open, where the system tells."""
    wanted, found = os.fstat(descriptor), []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        with suppress(OSError):
            if any(os.path.samestat(file.stat(), wanted) for file in (folder / "fd").iterdir()):
                words = (folder / "cmdline").read_bytes().split(b"\0")[:4]
                found.append(f"process {folder.name} ({b' '.join(words).decode('utf-8', 'replace').strip()})")
    return f"{', '.join(sorted(found)[:4])} has it" if found else ""


def take(log: EventLog, name: str, part: int, seconds: float) -> Reaction:
    """Take the lease of a reaction, within its lock, and return it with a new token.

    The lease of a process of this machine has ended with its lock; another machine's is waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        with log.transaction():
            reactions = log.store.reactions()
            found = next(reaction for reaction in reactions.all(name) if reaction.part == part)
            if _is_here(found) or not is_held(found, time.time()):
                taken = found._replace(token=os.urandom(8).hex(), holder=holder(), lease=ends(), running=0)
                reactions.replace(taken)
                return taken
        if time.monotonic() >= deadline:
            raise UnavailableError(
                f"the reaction {name} is running", why=f"{found.holder} has it until {found.lease}", code=BUSY
            )
        time.sleep(POLL_SECONDS)


def ends() -> str:
    """When a lease ends that begins now."""
    return clock_text(time.time() + LEASE_SECONDS)
