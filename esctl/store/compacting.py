"""Free unused space in a log's file."""

from __future__ import annotations

from esctl.store.opening import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import apsw

_SIZE = "select page_count * page_size from pragma_page_count, pragma_page_size"


def compact(connection: apsw.Connection, *, full: bool) -> tuple[int, int, bool]:
    """The size before and after in bytes, and whether the file could shrink at once.

    `full`: rebuild the indexes and rewrite the file, so that no removed bytes remain. Otherwise each step of the pragma
    frees a page, so it is run to its end.
    """
    before: int = connection.execute(_SIZE).get
    # A full copy may be large.
    run(
        connection,
        "pragma temp_store = file; reindex; vacuum; pragma temp_store = memory"
        if full
        else "pragma incremental_vacuum",
    )
    after: int = connection.execute(_SIZE).get
    busy, _, _ = connection.execute("pragma wal_checkpoint(truncate)").get or (0, 0, 0)
    return before, after, not busy
