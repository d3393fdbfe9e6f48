"""The archive: a log's segments, listed, checked, moved, exported and brought back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from esctl.errors import ConflictError, EsctlError, NotFoundError, UnavailableError, UsageError, VerificationError
from esctl.events.chain import genesis
from esctl.events.event import SYSTEM_PREFIX
from esctl.events.query import Query
from esctl.log import EventLog
from esctl.store import segments
from esctl.store.base import Archive, Finding
from esctl.store.files import draft_of, read_part, read_whole, remove
from esctl.store.segments import Facts, Frame, Line, Packed, Segment

AT_ONCE = 50_000  # rows that go in one transaction, or that are put aside in memory while all others go

Span = tuple[int, int]
Bytes = bytes | bytearray | memoryview


def hot(log: EventLog, until: int) -> list[Span]:
    """The positions up to one that are not archived, as ranges."""
    spans, low = [], 1
    for segment in archived(log):
        spans.append((low, min(segment.first - 1, until)))
        low = segment.last + 1
    return [(first, last) for first, last in [*spans, (low, until)] if first <= last]


def archived(log: EventLog) -> list[Segment]:
    """The segments of a log, in order."""
    archive = log.store.archive()
    return archive.segments if archive else []


def named(log: EventLog, name: str) -> Segment:
    """The segment of a name. Raises NotFoundError."""
    for segment in archived(log):
        if segment.name == name:
            return segment
    names = ", ".join(segment.name for segment in archived(log)[:5]) or "none"
    raise NotFoundError(f"there is no segment {name}", why=f"the archive has: {names}", fix="esctl archive list")


def chosen(log: EventLog, names: Iterable[str]) -> list[Segment]:
    """The segments of names, each once. Raises NotFoundError."""
    return [named(log, name) for name in dict.fromkeys(names)]


def brief(segment: Segment) -> dict[str, object]:
    """A segment in short: positions, events, and where it lies."""
    names = ("segment", "first_position", "last_position", "events", "where")
    full = record(segment)
    return {name: full[name] for name in names}


# Folders


def check_folder(to: Path | str) -> Path:
    """A path that may be a folder's. Raises UsageError for an address (of which Path drops a slash)."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(to)):
        raise UsageError(f"{to} is no folder", why="segments lie in the log's file or in a folder, which --to names")
    return Path(to)


def folder_for(to: Path) -> Path:
    """A folder for segments, made where it is missing."""
    check_folder(to)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"cannot use the folder {to}", why=error.strerror or str(error)) from error
    return to


def location(log: EventLog, folder: Path) -> str:
    """A folder as it is noted: relative to the log's own where it lies within, so that both can be moved together."""
    own, there = Path(log.path).resolve().parent, folder.resolve()
    return str(there.relative_to(own)) if there.is_relative_to(own) else str(there)


def write(log: EventLog, path: Path, parts: Iterable[Bytes], segment: Segment) -> None:
    """Write a segment's file, durably, under a name that no other content has. One that is there already stays.

    It is noted first as one that is to be removed, until a segment has it: see `kept`.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is no file", why="a segment was to be written there")
    if path.exists():
        if digest_of(read_whole(path, segment)) == segment.sha256:
            return
        raise UsageError(f"{path} is there already, and holds something else", why="look what it is, and remove it")
    with log.transaction():
        for name in (path, _draft(path)):
            log.store.archiving().leave(_noted_path(log, name))
    with draft_of(path, _draft(path)) as draft, draft.open("wb") as file:
        for part in parts:
            file.write(part)


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _noted_path(log: EventLog, path: Path) -> str:
    return str(Path(location(log, path.parent)) / path.name)


def kept(log: EventLog, path: Path, segment: Segment) -> None:
    """Within a transaction: a file is a segment's from here on, and not to be removed any more."""
    read_part(path, 0, 1, segment)  # another run may have taken it for what a killed one left
    for name in (path, _draft(path)):
        log.store.archiving().removed(_noted_path(log, name))


_A_SEGMENT = re.compile(r"\d{12,}-\d{12,}-([0-9a-f]{16})\.ndjson\.zst").fullmatch
_A_DRAFT = re.compile(r"\.\d{12,}-\d{12,}-[0-9a-f]{16}\.ndjson\.zst\.new").fullmatch


def tidy(log: EventLog) -> None:
    """Finish what a killed run left: remove files that nothing needs, and frames that are of no segment.

    Under the write lock: what another run is about to keep, it keeps before or not at all. What a log names is no
    reason to remove a file: it has to be one that was made for a segment.
    """
    archiving = log.store.archiving()
    with log.transaction():
        if left := [name for name in archiving.leftovers() if name]:
            folder, archive = Path(log.path).resolve().parent, log.store.archive()
            places = [archive.place(segment) for segment in archive.segments] if archive else []
            needed = {place.resolve() for place in places if place is not None}
            for name in left:
                path = folder / name
                if path.resolve() not in needed and _was_made(path):
                    remove(path)
                archiving.removed(name)
        archiving.drop_pending()
    let_go(log)


def let_go(log: EventLog) -> None:
    """Have the hot part hold no row any more that a segment holds: at once where few remain, else in portions."""
    archiving = log.store.archiving()
    spans, remaining = archiving.left()
    if spans and remaining <= AT_ONCE and remaining < spans[-1][1] - spans[0][0]:
        archiving.let_go_at_once(log.transaction)
        return
    for first, last in spans:
        for low in range(first, last + 1, AT_ONCE):
            with log.transaction():
                archiving.let_go(low, min(low + AT_ONCE - 1, last))


def _was_made(path: Path) -> bool:
    """Whether a file is one that esctl made for a segment: by its name, and a whole one by its content."""
    if _A_DRAFT(path.name):
        return True
    name = _A_SEGMENT(path.name)
    if name is None or path.is_symlink() or not path.is_file():
        return name is not None and not path.exists()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(name[1])


# Checking


def hash_before(log: EventLog, position: int) -> bytes:
    """The chain's hash before a position."""
    if position == 1:
        return genesis(log.log_id)
    for segment in archived(log):
        if segment.last == position - 1:
            return segment.after
    query = Query(since=position - 1, until=position - 1, system=True, raw_schema=True)
    for _, _, hash_ in log.store.read(query):
        return hash_
    raise VerificationError(f"there is no event at position {position - 1}", fix="esctl verify")


def problems(log: EventLog, segment: Segment) -> Iterator[str]:
    """Everything that is wrong with a segment: every byte of it is read, and all that is noted of it told anew."""
    archive = log.store.archive()
    assert archive is not None
    facts = Facts()
    try:
        frames = archive.frames(segment)
        yield from _tiles(segment, frames)
        sizes: list[int] = []
        if digest_of(_measured(_parts(log, archive, segment, frames), sizes)) != segment.sha256:
            yield "its SHA-256 is not the one that was written down"
        if sum(sizes) != segment.size:
            yield "it has more or fewer bytes than were written down"
        for frame in frames:
            lines = segments.decoded(
                segments.decompress(frame, archive.packed(frame, segment), segment.name), segment.name
            )
            yield from _frame_problems(archive, segment, frame, lines)
            facts.add(lines, frame.number)
        yield from _noted(log, archive, segment, facts)
    except EsctlError as error:
        yield error.why or error.what
    except (KeyError, ValueError, TypeError, IndexError) as error:
        yield f"it is damaged: {error!r}"


def _tiles(segment: Segment, frames: Sequence[Frame]) -> Iterator[str]:
    """Whether frames cover the segment, one after the other, and its ends are those of its neighbours."""
    position, offset = segment.first, 0
    for number, frame in enumerate(frames):
        if (frame.first, frame.offset, frame.number) != (position, offset, number):
            yield f"frame {number} does not follow the one before it"
        position, offset = frame.last + 1, frame.offset + frame.size
    if position != segment.last + 1 or not frames:
        yield f"its frames end at position {position - 1}"
    elif frames[0].before != segment.before:
        yield "its first frame begins with another hash than the segment"
    if sum(frame.raw_size for frame in frames) != segment.raw_size:
        yield "its frames hold more or fewer bytes than were written down"


def _frame_problems(archive: Archive, segment: Segment, frame: Frame, lines: Sequence[Line]) -> Iterator[str]:
    if [line.position for line in lines] != list(range(frame.first, frame.last + 1)):
        yield f"the frame of positions {frame.first} to {frame.last} holds others"
        return
    own = sum(line.stream.startswith(SYSTEM_PREFIX) for line in lines)
    if own != frame.own:
        yield f"the frame of positions {frame.first} to {frame.last} holds {own} events of the log's own"
    digests, salts = archive.digests(frame.first, frame.last), archive.salts(frame, segment)
    if {line.position for line in lines if line.erased} != set(digests):
        yield f"the payloads erased between positions {frame.first} and {frame.last} are not those that are noted"
        return
    if segments.hashes(lines, salts, digests, frame.before)[-1] != archive.after(frame, segment):
        yield f"the chain over positions {frame.first} to {frame.last} does not end in the hash that is noted"
    if archive.missing_ids(lines):
        yield f"events between positions {frame.first} and {frame.last} would not be found by their ids"


def _noted(log: EventLog, archive: Archive, segment: Segment, facts: Facts) -> Iterator[str]:
    """Whether what is written down of a segment is what its lines tell."""
    if (segment.first_recorded, segment.last_recorded) != facts.recorded:
        yield "its recorded times are not those of its first and last event"
    by_stream, by_type = archive.told(segment)
    if by_stream != set(facts.by_stream()):
        yield "what is noted of its streams is not what its lines say"
    if by_type != set(facts.by_type()):
        yield "what is noted of its types is not what its lines say"
    if segment.before != hash_before(log, segment.first):
        yield "it does not begin with the hash of the event before it"


def _parts(log: EventLog, archive: Archive, segment: Segment, frames: Sequence[Frame]) -> Iterator[bytes]:
    """The bytes of a segment as a file."""
    path = archive.place(segment)
    if path is not None:
        yield from read_whole(path, segment)
        return
    for frame in frames:
        yield archive.packed(frame, segment)
    erased = archive.digests(segment.first, segment.last)
    yield segments.trailer(
        log.log_id, frames, segment.after, erased, [archive.salts(frame, segment) for frame in frames]
    )


def _measured(parts: Iterable[bytes], sizes: list[int]) -> Iterator[bytes]:
    """The parts as they pass, whose sizes are kept."""
    for part in parts:
        sizes.append(len(part))
        yield part


def findings(log: EventLog, *, full: bool) -> Iterator[Finding]:
    """What is wrong with the archive: `full`, every byte of it; else, whether its files are there."""
    for segment in archived(log):
        for problem in problems(log, segment) if full else _absent(log, segment):
            yield ("archive", segment.first, f"the segment {segment.name}: {problem}")


def _absent(log: EventLog, segment: Segment) -> Iterator[str]:
    """Why a segment's file cannot be read, if it is one and cannot."""
    archive = log.store.archive()
    path = archive.place(segment) if archive else None
    if path is not None:
        try:
            read_part(path, 0, 1, segment)
        except EsctlError as error:
            yield error.why or error.what


def digest_of(parts: Iterable[Bytes]) -> bytes:
    """The SHA-256 of bytes that come in parts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.digest()


def check(log: EventLog, segment: Segment) -> None:
    """Raise the error of a segment that is not what it was; ConflictError for one that somebody has changed since."""
    again(log, segment)
    for problem in problems(log, segment):
        raise segments.damaged(segment.name, problem)


# Moving


def export(log: EventLog, segment: Segment) -> Iterator[bytes]:
    """The bytes of a segment as a file, each frame checked before it goes out."""
    archive = log.store.archive()
    assert archive is not None
    frames = archive.frames(segment)
    if digest_of(_parts(log, archive, segment, frames)) != segment.sha256:
        raise segments.damaged(segment.name, "its SHA-256 is not the one that was written down")
    yield from _parts(log, archive, segment, frames)


def restore(log: EventLog, segment: Segment) -> None:
    """Bring a segment's events back into the hot part."""
    tidy(log)
    check(log, segment)
    with log.transaction():
        archive, segment = again(log, segment)
        ids = (line.id for frame in archive.frames(segment) for line in _lines(archive, frame, segment))
        leave(log, archive, segment)
        log.store.archiving().bring_back(segment, list(ids))
    tidy(log)


def _lines(archive: Archive, frame: Frame, segment: Segment) -> list[Line]:
    return segments.decoded(segments.decompress(frame, archive.packed(frame, segment), segment.name), segment.name)


def again(log: EventLog, segment: Segment) -> tuple[Archive, Segment]:
    """The archive and a segment, seen in a transaction. Raises ConflictError where somebody has changed it since."""
    archive, found = log.store.archive(), named(log, segment.name)
    if archive is None or found.sha256 != segment.sha256 or found.location != segment.location:
        raise ConflictError(f"the segment {segment.name} has just changed", again="")
    return archive, found


def leave(log: EventLog, archive: Archive, segment: Segment) -> None:
    """Have the file of a segment removed once the transaction is committed, unless it is another log's, too."""
    if (path := archive.place(segment)) is not None and not segment.shared:
        log.store.archiving().leave(_noted_path(log, path))


def move(log: EventLog, segment: Segment, to: Path | None) -> Segment:
    """Have a segment lie in a folder, or (None) in the log's file."""
    tidy(log)
    folder = None if to is None else folder_for(to)
    moved = segment._replace(location=None if folder is None else location(log, folder), shared=0)
    if _same_place(log, moved, segment):
        return segment
    check(log, segment)
    if folder is not None:
        write(log, folder / segment.file, export(log, segment), segment)
        if digest_of(read_whole(folder / segment.file, segment)) != segment.sha256:
            raise segments.damaged(segment.name, "what was read back is not what was written")
    with log.transaction():
        archive, segment = again(log, segment)
        leave(log, archive, segment)
        log.store.archiving().place(moved, _packed(archive, segment))
        if folder is not None:
            kept(log, folder / segment.file, moved)
    tidy(log)
    return moved


def _same_place(log: EventLog, one: Segment, other: Segment) -> bool:
    if one.location is None or other.location is None:
        return one.location is other.location
    folder = Path(log.path).resolve().parent
    return (folder / one.location).resolve() == (folder / other.location).resolve()


def _packed(archive: Archive, segment: Segment) -> list[Packed]:
    """The frames of a segment with their bytes."""
    frames = archive.frames(segment)
    return [Packed(frame, archive.packed(frame, segment), archive.salts(frame, segment)) for frame in frames]


def embed(copy: EventLog, source: EventLog) -> None:
    """Have a copy of a log hold in its own file what lies outside of its source's."""
    refer(copy, source)
    for segment in archived(copy):
        if segment.location is not None:
            check(copy, segment)
            with copy.transaction():
                archive, _ = again(copy, segment)
                copy.store.archiving().place(segment._replace(location=None, shared=0), _packed(archive, segment))


def refer(copy: EventLog, source: EventLog) -> None:
    """Have a copy of a log name the files outside by where they lie, wherever it is itself."""
    folder = Path(source.path).resolve().parent
    for segment in archived(copy):
        if segment.location is not None:
            with copy.transaction():
                archive, _ = again(copy, segment)
                frames = [Packed(frame, b"", b"") for frame in archive.frames(segment)]
                where = str((folder / segment.location).resolve())
                copy.store.archiving().place(segment._replace(location=where, shared=1), frames)


def cut(log: EventLog, position: int) -> None:
    """On a copy that nobody else knows: have nothing archived that stands behind a position."""
    for segment in archived(log):
        if segment.first <= position < segment.last:
            restore(log, segment)
        elif segment.first > position:
            with log.transaction():
                log.store.archiving().cut(segment)


def record(segment: Segment) -> dict[str, object]:
    """A segment as it is listed."""
    return {
        "segment": segment.name,
        "first_position": segment.first,
        "last_position": segment.last,
        "events": segment.events,
        "first_recorded": segment.first_recorded,
        "last_recorded": segment.last_recorded,
        "bytes": segment.size,
        "raw_bytes": segment.raw_size,
        "ratio": round(segment.raw_size / segment.size, 2),
        "where": segment.location or "log",
        "sha256": segment.sha256.hex(),
    }
