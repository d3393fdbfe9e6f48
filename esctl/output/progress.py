"""Progress bars, on stderr and on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from esctl.output import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

BAR_AFTER_SECONDS = 0.5


def watched(items: Iterable[T], label: str, total: int | None, weight: Callable[[T], int]) -> Iterator[T]:
    """Pass items through; on a terminal, after BAR_AFTER_SECONDS, with a bar on stderr: number, rate, time left."""
    if console.settings.quiet or not sys.stderr.isatty():
        yield from items
        return
    start, done, bar = time.monotonic(), 0, None
    try:
        for item in items:
            yield item
            done += weight(item)
            if bar is None and time.monotonic() - start > BAR_AFTER_SECONDS:
                bar = _Bar(label, total, start)
            if bar is not None:
                bar.show(done)
    finally:
        if bar is not None:
            bar.close()


class _Bar:
    """A bar of rich, which is loaded only here."""

    def __init__(self, label: str, total: int | None, start: float) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(show_speed=False))
        rate = TextColumn("{task.completed:,} events, {task.fields[rate]:,.0f}/s")
        self._progress = Progress(*columns, rate, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self._start = start
        self._task = self._progress.add_task(label, total=total, rate=0)
        self._progress.start()

    def show(self, done: int) -> None:
        """Update the number done."""
        self._progress.update(self._task, completed=done, rate=done / max(time.monotonic() - self._start, 1e-3))

    def close(self) -> None:
        """Remove the bar from the terminal."""
        self._progress.stop()
