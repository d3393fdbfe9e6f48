"""Creates a folder with the sample shop: its files and a log made from them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from esctl.append.writer import Writer
from esctl.errors import UnavailableError, UsageError
from esctl.events.lines import Defaults, parser
from esctl.evolution import plan
from esctl.log import EventLog
from esctl.projections import runs
from esctl.store import migrations

EVENTS, MODEL, LOG = "orders.ndjson", "shop.toml", "esctl.db"
FILES = (EVENTS, MODEL, "tour.sh", "decide_cancel.sh", "decide_refund.py", "payment-saga.sh")


def make(folder: str) -> dict[str, object]:
    """Create the sample in `folder`, which may exist; return the folder, its log, the number of events and the head.

    Raises UsageError, before it writes anything, if one of the files exists; UnavailableError if it cannot write.
    """
    place = Path(folder)
    _check_free(place)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copy(_samples() / name, place / name)  # keeps the mode: the deciders are executable
    except OSError as error:
        raise UnavailableError(f"cannot write {folder}", why=error.strerror or str(error)) from error
    migrations.create(place / LOG)
    events, head = _fill(place)
    return {"folder": folder, "log": str(place / LOG), "events": events, "head": head}


def _check_free(place: Path) -> None:
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is not a folder", fix="esctl demo another-folder")
    for name in (*FILES, LOG):
        if os.path.lexists(place / name):
            raise UsageError(
                f"{place / name} exists already",
                why="esctl demo does not overwrite files",
                fix="esctl demo another-folder",
            )


def _samples() -> Path:
    """The folder of the sample files: inside the package if installed, beside it in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "sample_data"
    return installed if installed.is_dir() else package.with_name("sample_data")


def _fill(place: Path) -> tuple[int, str]:
    """Append the events, then apply the model, as the tour does, and bring its projections up to date."""
    parse = parser(Defaults(input="ndjson"))
    events = [parse(line) for line in (place / EVENTS).read_bytes().splitlines()]
    with EventLog(place / LOG, write=True, bulk=True) as log:
        with log.transaction():
            Writer(log).append(events)
        plan.apply(log, plan.sound(place / MODEL), log.definitions.position)
        for _ in runs.run(log, (), runs.Run()):
            pass
        position, hash_, _ = log.head()
    return len(events), f"{position}:{hash_.hex()}"
