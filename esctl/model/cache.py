"""Compiled models that a user's commands keep for the next ones, in a folder outside any log.

It is never needed: what cannot be read is compiled again, what cannot be written is left. A log cannot bring an entry:
its name is a hash of the model's text that was judged, and its file has to be this user's, and writable for no other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from esctl import __version__
from esctl.events import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pickle import dumps, loads
    from typing import TypeVar

    T = TypeVar("T")
else:
    try:  # the module itself is Python, and takes ten times as long to load
        from _pickle import dumps, loads
    except ImportError:
        from pickle import dumps, loads

MOST_FILES = 100
OTHERS_MAY_WRITE = 0o022
PREFIX = "esctl-model-"  # of the names of our files: the folder may hold others, which nobody here removes


class Cache:
    """A folder of compiled models."""

    def __init__(self, folder: str, engine: str) -> None:
        """`engine` names the SQLite that judged them."""
        self._folder = folder
        self._engine = f"{__version__} {sys.version} {engine} {_sources()}"

    def get(self, text: str, compiled: Callable[[], T]) -> T:
        """What `compiled` makes of a text, or what it made of it before."""
        name = chain.sha256(f"{self._engine}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        path = os.path.join(self._folder, PREFIX + name)
        try:
            found: T = loads(_own(path))  # noqa: S301 - this user's own, as a .pyc is
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is made again
            found = compiled()
            self._keep(path, dumps(found, -1))
        return found

    def _keep(self, path: str, content: bytes) -> None:
        draft = f"{path}.{os.getpid()}"
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            ours = [name for name in os.listdir(self._folder) if name.startswith(PREFIX)]
            for name in sorted(ours, key=self._age)[:-MOST_FILES]:
                os.unlink(os.path.join(self._folder, name))
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        except OSError:
            return

    def _age(self, name: str) -> int:
        return os.lstat(os.path.join(self._folder, name)).st_mtime_ns


def _sources() -> list[tuple[str, int, int]]:
    """The sources that compile a model, by name, size and time: while somebody edits them, a version says too little.

    An installation may come without them; then the version decides.
    """
    package = os.path.dirname(__file__)
    found = []
    for folder in (package, os.path.join(package, "..", "sql"), os.path.join(package, "..", "events")):
        with os.scandir(folder) as entries:
            found += [(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries if e.name.endswith(".py")]
    return sorted(found)


def _own(path: str) -> bytes:
    """The content of a file of this user's that nobody else may write. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        facts = os.fstat(descriptor)
        if facts.st_uid != os.geteuid() or facts.st_mode & OTHERS_MAY_WRITE:
            raise PermissionError(path)
        return os.read(descriptor, facts.st_size)
    finally:
        os.close(descriptor)
