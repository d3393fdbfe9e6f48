"""The inputs of a run of `append`: files and stdin, one after the other, decompressed if they are gzip or zstd."""

from __future__ import annotations

import os
import select
from bisect import bisect_right
from collections.abc import Sequence

from esctl.append.unpacking import TAKEN_BYTES, packing, unpacker
from esctl.errors import EsctlError, NotFoundError, RefusedError, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.append.unpacking import Unpacker

READ_BYTES = TAKEN_BYTES
_BLANK = b" \t\r\n\xef\xbb\xbf"  # with the bytes of a byte order mark


class Origin:
    """Where lines come from: a file, or stdin (no name).

    `first` is the number of its first line in the whole input, `begins` that of its first one that is not blank.
    """

    def __init__(self, name: str, descriptor: int, first: int) -> None:
        self.name, self.descriptor, self.first, self.begins = name, descriptor, first, first
        self.packing = "plain"
        self.head = b""  # its first byte that is not blank, decompressed

    def path(self) -> str:
        """The path of its file, also of one that the shell opened as stdin; empty for a pipe or a terminal."""
        if self.name:
            return self.name
        try:
            path = os.readlink(f"/dev/fd/{self.descriptor}")
        except OSError:
            return ""
        return os.path.relpath(path) if os.path.isfile(path) else ""

    def fed_by(self, *commands: str) -> str:
        """A pipeline that decompresses the file and passes it through commands, the first of which may read it."""
        path = self.path() and f" {word(self.path())}"
        steps = [] if self.packing == "plain" else [f"{self.packing} -dc"]
        first, *others = [*steps, *commands]
        return " | ".join([first + path, *others])


class Inputs:
    """The bytes of several inputs in order; each is a path, or a descriptor that is open already.

    Raises NotFoundError for a file that cannot be read, before anything is.
    """

    def __init__(self, sources: Sequence[str | int]) -> None:
        self._sources = list(sources)
        self.origins: list[Origin] = []
        self.poll = select.poll()
        for source in sources:
            if isinstance(source, str) and (os.path.isdir(source) or not os.access(source, os.R_OK)):
                raise _unreadable(source)
        self._open(1)

    @property
    def ended(self) -> bool:
        """Whether the last input has been read to its end."""
        return self._descriptor is None

    @property
    def pending(self) -> bool:
        """Whether `read` has bytes to give without reading more."""
        return self._unpacker is not None and self._unpacker.pending

    def read(self, line: int) -> bytes | None:
        """Read once: the next bytes, perhaps none; None where an input ends. `line` is then the number of the next."""
        if self._descriptor is None:
            return None
        if not self.pending:
            chunk = os.read(self._descriptor, READ_BYTES)
            if not chunk and (self._begun or not self._head):
                self._end()
                self._open(line)
                return None
            if not self._begun:
                chunk = self._begin(chunk)
            if self._unpacker is not None:
                self._unpacker.feed(chunk)
        if self._unpacker is not None:
            try:
                chunk = self._unpacker.take()
            except RefusedError as error:
                raise self._damaged(error) from error
        self.origins[-1].head = self.origins[-1].head or chunk.lstrip(_BLANK)[:1]
        return chunk

    def origin(self, line: int) -> Origin:
        """Where a line of the whole input comes from."""
        return self.origins[bisect_right([origin.first for origin in self.origins], line) - 1]

    def locate(self, error: EsctlError) -> None:
        """In an error's details, count its lines within their files, and name the files."""
        for line_key, file_key in (("line", "file"), ("first_line", "first_file")):
            line = error.details.get(line_key)
            if isinstance(line, int):
                origin = self.origin(line)
                error.details[line_key] = line - origin.first + 1
                if origin.name:
                    error.details[file_key] = origin.name

    def pass_blank(self, line: int) -> None:
        """A line is blank: if it was the first of its input, the next one is."""
        origin = self.origin(line)
        origin.begins += line == origin.begins

    def advise(self, error: EsctlError, line: bytes | None, following: Sequence[bytes | None]) -> None:
        """In the error for a line, say how events are made of an input of another format."""
        from esctl.events.formats import advice  # noqa: PLC0415 - loads csv and re, for bad lines only

        number = error.details["line"]
        if "item" in error.details or not isinstance(number, int):
            return
        origin = self.origin(number)
        first = number == origin.begins
        text = line if line is not None else origin.head if first else b""
        if found := advice(error, text, following, first=first):
            error.what, error.why, error.fix, error.again = found.what, found.why, found.fix, found.again
            if found.command:
                error.again, error.feed = "", origin.fed_by(found.command)

    def _open(self, line: int) -> None:
        """Open the next input, whose first line has this number."""
        self._descriptor: int | None = None
        self._unpacker: Unpacker | None = None
        self._head, self._begun = b"", False
        if not self._sources:
            return
        source = self._sources.pop(0)
        try:
            self._descriptor = source if isinstance(source, int) else os.open(source, os.O_RDONLY)
        except OSError as error:
            raise _unreadable(str(source)) from error
        self._opened = not isinstance(source, int)
        self.poll.register(self._descriptor, select.POLLIN)
        self.origins.append(Origin("" if isinstance(source, int) else source, self._descriptor, line))

    def _begin(self, chunk: bytes) -> bytes:
        """The first bytes of an input, none until there are enough to see whether it is compressed."""
        self._head += chunk
        found = packing(self._head)
        if found is None and chunk:
            return b""
        self._begun = True
        if found in ("gzip", "zstd"):
            self.origins[-1].packing = found
            self._unpacker = unpacker(found)
        return self._head

    def _end(self) -> None:
        assert self._descriptor is not None
        self.poll.unregister(self._descriptor)
        if self._opened:
            os.close(self._descriptor)
        if self._unpacker is not None and not self._unpacker.complete:
            raise self._damaged(
                RefusedError("cannot decompress the input", why=f"its {self.origins[-1].packing} data is cut off")
            )

    def _damaged(self, error: RefusedError) -> RefusedError:
        """The error for compressed data that cannot be read, with the file and a command that tests it."""
        origin = self.origins[-1]
        if path := origin.path():
            error.what = f"cannot decompress {path}"
            error.fix = f"gzip -t {word(path)}" if origin.packing == "gzip" else f"zstd -t {word(path)}"
        return error


def _unreadable(path: str) -> NotFoundError:
    """The error for a file that cannot be read; the system says why."""
    why = "it is a folder"
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        why = error.strerror or str(error)
    return NotFoundError(
        f"cannot read {path}", why=f"{why}; to append one event, give STREAM TYPE DATA", fix="esctl append --help"
    )
