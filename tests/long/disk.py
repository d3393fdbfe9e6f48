"""A disk that keeps only what it was told to keep: what a power loss may leave of recorded operations.

Rules, of a weak POSIX file system: the sync of a file makes its bytes and size durable, that of a folder its names, and
what is durable is never lost. Of what was not synced, any of these may be left: writes (in pieces of 512 bytes, each by
itself), a size of before or after (zeros where nothing was written), names that came, went or changed (in the order of
a folder, or any subset).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from tests.long.shim import Operation

PIECE = 512  # bytes that are written whole or not at all
CORNERS = ("nothing", "everything", "names", "bytes", "sizes")
"""What survives of what was not synced: nothing, all, only the names, only the bytes, only names and sizes."""
DRAWN = "drawn"
_WAYS = ("nothing", "everything", "sizes", "first", "any", "pieces")


class File:
    """A file: its durable bytes, and what was done since; a write at an offset, or (None) a new size."""

    def __init__(self, durable: bytes) -> None:
        self.durable = durable
        self.pending: list[tuple[int, bytes | None]] = []

    def now(self) -> bytes:
        """The bytes as a running process sees them."""
        return self.left("everything", random.Random(0))

    def sync(self) -> None:
        self.durable = self.now()
        self.pending.clear()

    def left(self, way: str, draw: random.Random) -> bytes:
        """The bytes after a loss of power."""
        left, size, sizes = bytearray(self.durable), len(self.durable), [len(self.durable)]
        first = draw.randint(0, len(self.pending)) if way == "first" else 0
        for number, (offset, data) in enumerate(self.pending):
            kept = (
                way == "everything"
                or (way == "first" and number < first)
                or (way in ("any", "pieces") and draw.random() < 0.5)
            )
            size = offset if data is None else max(size, offset + len(data))
            sizes.append(size)
            if data is None:
                if kept:
                    _resize(left, offset)
            elif kept and way != "pieces":
                _put(left, offset, data)
            elif way == "pieces":
                for low, part in _pieces(offset, data):
                    if draw.random() < 0.5:
                        _put(left, low, part)
        if way == "sizes":
            _resize(left, size)
        elif way in ("any", "pieces"):
            _resize(left, draw.choice([len(left), *sizes]))
        return bytes(left)


def _pieces(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = PIECE - (offset + at) % PIECE
        yield offset + at, data[at : at + size]
        at += size


def _put(left: bytearray, offset: int, data: bytes) -> None:
    if offset > len(left):
        _resize(left, offset)
    left[offset : offset + len(data)] = data


def _resize(left: bytearray, size: int) -> None:
    del left[size:]
    left.extend(bytes(size - len(left)))


class Folder:
    """A folder: its durable names, its names now, and what was done to them since, each at once."""

    def __init__(self) -> None:
        self.durable: dict[str, File | Folder] = {}
        self.now: dict[str, File | Folder] = {}
        self.pending: list[dict[str, File | Folder | None]] = []

    def set(self, names: dict[str, File | Folder | None]) -> None:
        self.pending.append(names)
        _change(self.now, names)

    def sync(self) -> None:
        self.durable = dict(self.now)
        self.pending.clear()

    def left(self, way: str, draw: random.Random) -> dict[str, File | Folder]:
        """The names after a loss of power."""
        left = dict(self.durable)
        first = draw.randint(0, len(self.pending)) if way == "first" else 0
        for number, names in enumerate(self.pending):
            if way == "everything" or (way == "first" and number < first) or (way == "any" and draw.random() < 0.5):
                _change(left, names)
        return left


def _change(names: dict[str, File | Folder], changes: dict[str, File | Folder | None]) -> None:
    for name, found in changes.items():
        if found is None:
            names.pop(name, None)
        else:
            names[name] = found


class Disk:
    """What a folder holds, durable and pending, while recorded operations are done."""

    def __init__(self, folder: Path) -> None:
        """Begin with what is in the folder, all of it durable."""
        self._top = str(folder)
        self._files: dict[int, File] = {}
        self.root = self._begun(folder)

    def _begun(self, folder: Path) -> Folder:
        made = Folder()
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                made.now[path.name] = self._begun(path)
            elif not path.name.endswith("-shm"):
                made.now[path.name] = self._files.setdefault(path.stat().st_ino, File(path.read_bytes()))
        made.sync()
        return made

    def _folder(self, path: str) -> Folder:
        found: File | Folder = self.root
        for name in filter(None, path[len(self._top) :].split("/")):
            assert isinstance(found, Folder)
            found = found.now[name]
        assert isinstance(found, Folder)
        return found

    def do(self, done: Operation) -> None:
        """Do an operation."""
        folder, name = os.path.split(done.path)
        match done.kind:
            case "create":
                self._files[done.inode] = File(b"")
                self._folder(folder).set({name: self._files[done.inode]})
            case "open" if done.offset & os.O_TMPFILE == os.O_TMPFILE:  # it has no name
                self._files[done.inode] = File(b"")
            case "write":
                self._files[done.inode].pending.append((done.offset, done.data))
            case "truncate" if done.result == 0:
                self._files[done.inode].pending.append((done.offset, None))
            case "sync" if done.result == 0:
                self._files[done.inode].sync()
            case "sync_folder" if done.result == 0:
                self._folder(done.path).sync()
            case "mkdir":
                self._folder(folder).set({name: Folder()})
            case "unlink" | "rmdir":
                self._folder(folder).set({name: None})
            case "link" | "rename":
                self._named(done)

    def _named(self, done: Operation) -> None:
        (old, name), (new, other) = os.path.split(done.path), os.path.split(done.other)
        found = self._folder(old).now[name]
        gone: dict[str, File | Folder | None] = {name: None} if done.kind == "rename" else {}
        if old == new:
            self._folder(old).set({**gone, other: found})
        else:
            self._folder(new).set({other: found})
            if gone:
                self._folder(old).set(gone)

    def files(self) -> dict[str, File]:
        """The files by name, as running processes see them."""
        return dict(_files(self.root, ""))

    def lose_power(self, target: Path, survives: str, draw: random.Random) -> dict[int, int]:
        """Write what is left into a new folder; the numbers of files (inodes) there, by those that they had."""
        written: dict[int, Path] = {}
        _write(self.root, target, survives, draw, written)
        return {n: written[id(file)].stat().st_ino for n, file in self._files.items() if id(file) in written}


def _files(folder: Folder, before: str) -> Iterator[tuple[str, File]]:
    for name, found in folder.now.items():
        if isinstance(found, File):
            yield before + name, found
        else:
            yield from _files(found, f"{before}{name}/")


def _write(folder: Folder, target: Path, survives: str, draw: random.Random, written: dict[int, Path]) -> None:
    target.mkdir()
    names, content = {
        "names": ("everything", "nothing"),
        "bytes": ("nothing", "everything"),
        "sizes": ("everything", "sizes"),
        DRAWN: (draw.choice(("nothing", "everything", "first", "any")), ""),
    }.get(survives, (survives, survives))
    for name, found in folder.left(names, draw).items():
        path = target / name
        if isinstance(found, Folder):
            _write(found, path, survives, draw, written)
        elif id(found) in written:
            path.hardlink_to(written[id(found)])
        else:
            path.write_bytes(found.left(content or draw.choice(_WAYS), draw))
            path.chmod(0o600)
            written[id(found)] = path
