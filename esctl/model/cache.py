"""Compiled models that a user's commands keep for the next ones, in a folder outside any log.

It is never needed: what cannot be read is compiled again, what cannot be written is left. A log cannot bring an entry:
its name is a hash of the model's text that was judged, and its file has to be this user's, and writable for no other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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
# The modules whose values are kept, or that compile them: what another state of them has made is not used.
SOURCES = (
    "applied", "checks", "declared", "operations", "program", "toml", "upcasts", "../events/query", "../sql/judge"
)  # fmt: skip


class Cache:
    """A folder of compiled models."""

    def __init__(self, folder: str, engine: str) -> None:
        """`engine` names the SQLite that judged them."""
        self._folder = folder
        package = os.path.dirname(__file__)
        made = [os.stat(f"{package}/{name}.py").st_mtime_ns for name in SOURCES]
        self._engine = f"{sys.version} {engine} {made}"

    def get(self, text: str, compiled: Callable[[], T]) -> T:
        """What `compiled` makes of a text, or what it made of it before."""
        path = os.path.join(self._folder, chain.sha256(f"{self._engine}\0{text}".encode()).hexdigest()[:32])
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
            for name in sorted(os.listdir(self._folder), key=self._age)[:-MOST_FILES]:
                os.unlink(os.path.join(self._folder, name))
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(draft, path)
        except OSError:
            return

    def _age(self, name: str) -> int:
        return os.lstat(os.path.join(self._folder, name)).st_mtime_ns


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
