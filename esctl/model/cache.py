"""A cache of compiled models, shared by a user's commands, in a folder outside any log.

The cache is optional: an entry that cannot be read is compiled again, and a failed write is ignored. A log cannot plant
an entry: its name is a hash of the model's text, and its file has to belong to this user and be writable by no other.
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
    try:  # the pickle module is Python, and takes ten times as long to load
        from _pickle import dumps, loads
    except ImportError:
        from pickle import dumps, loads

MAX_FILES = 400
GROUP_OR_OTHERS_WRITE = 0o022
PREFIX = "esctl-model-"  # of the cache's file names: the folder may contain other files, which are never removed


class Cache:
    """A folder of compiled models."""

    def __init__(self, folder: str, engine: str) -> None:
        """`engine` is the version of the SQLite that checked the models."""
        self._folder = folder
        self._engine = f"{__version__} {sys.version} {engine} {_sources()}"

    def get(self, kind: str, text: str, compiled: Callable[[], T]) -> T:
        """The cached result of this kind for a text, or else that of `compiled()`, which is then cached."""
        name = chain.sha256(f"{self._engine}\0{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        path = os.path.join(self._folder, PREFIX + name)
        try:
            compiled_model: T = loads(_read_own(path))  # noqa: S301 - this user's own, as a .pyc is
        except Exception:  # noqa: BLE001 - whatever is wrong with the file, compile again
            compiled_model = compiled()
            self._write(path, dumps(compiled_model, -1))
        return compiled_model

    def _write(self, path: str, content: bytes) -> None:
        draft = f"{path}.{os.getpid()}"
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            entries = [name for name in os.listdir(self._folder) if name.startswith(PREFIX)]
            for name in sorted(entries, key=self._modified)[:-MAX_FILES]:
                os.unlink(os.path.join(self._folder, name))
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        except OSError:
            return

    def _modified(self, name: str) -> int:
        return os.lstat(os.path.join(self._folder, name)).st_mtime_ns


def _sources() -> list[tuple[str, int, int]]:
    """Name, size and time of the sources that compile a model: during development, the version number is not enough.

    An installation may lack the sources; then only the version counts.
    """
    package = os.path.dirname(os.path.dirname(__file__))
    sources = []
    for room in ("events", "sql", "model", "store"):
        with os.scandir(os.path.join(package, room)) as entries:
            sources += [(e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries if e.name.endswith(".py")]
    return sorted(sources)


def _read_own(path: str) -> bytes:
    """The content of a file that belongs to this user and that nobody else may write. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & GROUP_OR_OTHERS_WRITE:
            raise PermissionError(path)
        return os.read(descriptor, status.st_size)
    finally:
        os.close(descriptor)
