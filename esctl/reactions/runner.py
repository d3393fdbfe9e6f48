"""Run a reaction: read its events, have each handled in its turn, try again, and save how far it has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from esctl.errors import EsctlError, HandlerError, RefusedError, UnavailableError, word
from esctl.events.event import NewEvent
from esctl.events.times import clock_text
from esctl.log import POLL_SECONDS, EventLog
from esctl.reactions import lease
from esctl.reactions.chaining import LOOP, JudgedError, Outputs
from esctl.reactions.definition import Definition
from esctl.reactions.items import Item, Source
from esctl.reactions.letters import Letters
from esctl.reactions.order import AT_ONCE, Lanes, Window
from esctl.reactions.results import AGAIN, PARK, Handlers, Result
from esctl.reactions.retries import Breaker, pause
from esctl.store.errors import BUSY
from esctl.store.reactions import LOST, RETRYING, STOPPED, Letter, Reaction

SAVE_SECONDS, SAVE_EVENTS = 0.1, 256
REST_SECONDS = 0.04  # between two looks at a log that does not change: half of it is the median delay of an event
SHOW_SECONDS = 1.0  # after which a number of running handlers is saved, though none has ended
RATE_SECONDS = 30.0
STOP, PARKING, SKIPPING = "stop", "park", "skip"


class Settings(NamedTuple):
    """How a reaction is run; another run may have other settings.

    A failed event is tried `retries` times more, after a pause of up to `backoff` seconds, doubled each time. What then
    becomes of it `on_error` says. After `breaker` different events that failed one after the other, all stops for a
    while (0: never). With `follow`, it goes on when there are no more events.
    """

    retries: int = 5
    backoff: float = 1.0
    on_error: str = STOP
    breaker: int = 10
    follow: bool = False
    allow_loop: bool = False


class Stop:
    """Whether the run was asked to end; more than once: at once."""

    def __init__(self) -> None:
        self.asked = 0
        self.signum = 0


class Summary:
    """What a run did."""

    def __init__(self, name: str) -> None:
        self.name, self.position = name, 0
        self.handled = self.failed = self.parked = self.skipped = self.appended = 0

    def record(self) -> dict[str, object]:
        """The summary as a record."""
        names = ("position", "handled", "failed", "parked", "skipped", "appended")
        return {"reaction": self.name} | {name: getattr(self, name) for name in names}


class Runner:
    """Runs one reaction, or one part of a group, whose lease this process has."""

    def __init__(
        self,
        log: EventLog,
        reaction: Reaction,
        definition: Definition,
        handlers: Handlers,
        settings: Settings,
        *,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._log, self._store = log, log.store.reactions()
        self._row, self._settings, self._handlers, self._tell = reaction, settings, handlers, tell
        self._source = Source(log, reaction, definition)
        self._window = Window(reaction.position, msgspec.json.decode(reaction.done))
        self._lanes = Lanes()
        self._letters = Letters(self._store, reaction, independent=definition.independent)
        until = None if reaction.closed_until is None else time.time()  # whoever starts it may have mended it
        self._breaker = Breaker(settings.breaker, reaction.failing, until)
        self._outputs = Outputs(log, reaction.name, definition, allow_loop=settings.allow_loop)
        self._appends = definition.append
        self._unsaved: list[tuple[Item, list[NewEvent]]] = []  # handled; what they printed is not yet appended
        self._ahead = False  # a transaction failed after these were taken as done: another run does them again
        self._changed = 0  # events that became done since the last save
        self._since: float | None = None  # when something changed that is not saved
        self._leased = time.time()
        self._rates: list[tuple[float, int]] = []  # when it was saved, and how many events were handled before
        self._head = self._target = log.head().position
        self._is_stale = False  # whether another process has changed the log since the last look
        self._failure: HandlerError | None = None
        self.summary = Summary(reaction.name)
        log.store.changed()

    # The loop

    def run(self, stop: Stop) -> Summary:
        """Run until all is done, or for ever; until it is stopped, or fails. Raises HandlerError for a failed event."""
        try:
            while True:
                if self._rests() and not stop.asked:
                    time.sleep(REST_SECONDS)
                    if not self._notice() and time.time() < self._leased + lease.RENEW_SECONDS:
                        continue
                self._look()
                ending = stop.asked > 0 or self._failure is not None
                if stop.asked > 1:
                    break
                if not ending:
                    self._read()
                    self._start()
                if self._handlers.running == 0 and (ending or self._is_done()):
                    break
                self._save_if_due()
                for result in self._handlers.wait(self._patience(ending=ending)):
                    self._take(result)
        except BaseException as error:
            self._handlers.end()
            if not self._ahead and not (isinstance(error, EsctlError) and error.code in (LOST, BUSY)):
                with suppress(EsctlError):  # what is done is done, whatever ended it
                    self._save(last=True)
            raise
        self._handlers.end()
        self._save(last=True)
        self.summary.position = self._row.position
        if self._failure is not None:
            raise self._failure
        return self.summary

    def _rests(self) -> bool:
        """Whether nothing is to be done until the log changes; most of the time it is so."""
        return (
            self._settings.follow
            and self._window.is_empty
            and not self._handlers.running
            and self._since is None
            and self._window.reached >= self._head
            and not self._letters.are_due
        )

    def _notice(self) -> bool:
        """Whether another process has changed the log since the last look."""
        self._is_stale = self._is_stale or self._log.store.changed()
        return self._is_stale

    def _look(self) -> None:
        """Notice new events, and what other commands asked for."""
        self._lanes.due(time.time())
        if self._notice():
            self._is_stale = False
            self._head = self._log.head().position
            found = [row for row in self._store.all(self._row.name) if row.part == self._row.part]
            if not found or found[0].token != self._row.token:
                self._save()  # which says that it is lost
                return
            self._row = self._row._replace(paused=found[0].paused)
            self._letters.look()

    def _read(self) -> None:
        """Read events, and those that wait behind letters, into their lanes."""
        until = self._head if self._settings.follow else self._target
        if self._window.reached < until and not self._window.is_full:
            since, size = self._window.reached + 1, self._window.room
            items, reached = self._source.read(since, until, events=AT_ONCE, size=size)
            for item in self._window.add(items, reached):
                item.attempts, item.tries = self._letters.tried(item)
                if self._letters.block(item.key):
                    self._done(item)
                else:
                    self._lanes.add(item)
        for letter in self._letters.to_read(self._lanes):
            since = letter.position + self._letters.is_behind(letter)
            for item in self._source.behind(letter, since, self._letters.end(letter, self._window.reached), events=100):
                item.attempts = letter.attempts if item.position == letter.position else 0
                self._lanes.add(item)
            if not self._lanes.has(letter.key):
                self._letters.forget(letter)
                self._touch()

    def _start(self) -> None:
        """Start handlers."""
        now = time.time()
        while self._handlers.has_room and self._may_start(now):
            item = self._lanes.take(self._handlers.fits)
            if item is None:
                return
            if not item.letter and self._letters.block(item.key):
                self._done(item)  # one before it was parked meanwhile
                self._lanes.free(item.key)
                continue
            if now > self._leased + lease.LEASE_SECONDS / 2:  # this process may have been halted
                self._save()
                now = time.time()
            self._handlers.start(item)

    def _may_start(self, now: float) -> bool:
        """Whether an event is ready, and nothing forbids to handle it."""
        return self._lanes.is_ready and not self._row.paused and self._breaker.allows(now, self._handlers.running)

    def _is_done(self) -> bool:
        """Whether nothing is left to do, of a run that does not follow."""
        if self._settings.follow or self._unsaved:
            return False
        if self._row.paused:
            return True
        if self._breaker.until is not None and self._breaker.until > time.time():
            self._failure = self._broken()
            return True
        return self._window.reached >= self._target and self._window.is_empty and not self._letters.are_due

    def _patience(self, *, ending: bool) -> float:
        """How many seconds to wait for handlers, at most."""
        now, seconds = time.time(), SAVE_SECONDS
        if self._settings.follow and not self._window.is_full:
            seconds = POLL_SECONDS
        if ending:
            return seconds
        if self._may_start(now) and not self._handlers.running:
            seconds = 0.0
        if (due := self._lanes.next_due) is not None:
            seconds = min(seconds, due - now)
        if self._window.reached < (self._head if self._settings.follow else self._target) and not self._window.is_full:
            seconds = 0.0
        return max(0.0, seconds)

    # What became of an event

    def _take(self, result: Result) -> None:
        """Take the result of an attempt."""
        item = result.item
        if not result.counts:
            self._lanes.put_back(item)
        elif result.error:
            self._failed(result)
        elif not self._appends:
            self._finished(item)
        else:
            try:
                self._unsaved.append((item, self._outputs.events(item, result.output)))
                self._touch()
            except RefusedError as error:
                self._failed(_refused(item, error), is_last=error.code == LOOP)

    def _finished(self, item: Item) -> None:
        """An event was handled."""
        self.summary.handled += 1
        self._row = self._row._replace(handled=self._row.handled + 1)
        self._breaker.success()
        self._done(item)
        self._lanes.free(item.key)

    def _done(self, item: Item) -> None:
        """Nothing is left to do for an event."""
        if item.letter:
            self._letters.advance(item)
        else:
            self._letters.drop(item)
            self._window.done(item)
        self._changed += 1
        self._touch()

    def _failed(self, result: Result, *, is_last: bool = False) -> None:
        """An attempt failed: the event is tried again, unless that was the last time."""
        item, now = result.item, time.time()
        item.attempts += 1
        item.tries += 1
        self.summary.failed += 1
        self._row = self._row._replace(
            failed=item.position, failed_at=clock_text(now), error=f"{item.place}: {result.error}"
        )
        is_last = is_last or item.tries > self._settings.retries or result.status == PARK
        if result.status != PARK and (result.status != AGAIN or is_last):
            self._breaker.failure((item.position, item.event.part), now)
        if not is_last:
            at = now + pause(item.tries, self._settings.backoff)
            self._letters.put(self._letter(result, RETRYING, clock_text(at)), item)
            self._lanes.again(item, at)
            self._say(result, f"next try in {at - now:.1f} s")
        else:
            self._give_up(result)
        self._touch()

    def _give_up(self, result: Result) -> None:
        """An event has failed for the last time."""
        item, how = result.item, self._settings.on_error
        if result.status == PARK or how == PARKING or (how == STOP and item.letter):
            self._park(result)
        elif how == SKIPPING:
            self.summary.skipped += 1
            self._say(result, "it is skipped")
            self._done(item)
            self._lanes.free(item.key)
        else:
            self._letters.put(self._letter(result, STOPPED, None), item)
            self._failure = self._failure or self._stopped(result)

    def _park(self, result: Result) -> None:
        """Park an event; later ones of its lane wait behind it."""
        item = result.item
        self.summary.parked += 1
        self._say(result, "it is parked")
        self._letters.park(self._letter(result, "", None), item)
        waiting = [] if self._letters.independent else self._lanes.clear(item.key)
        for each in (item, *waiting):
            if not each.letter:
                self._window.done(each)
                self._changed += 1
        self._lanes.free(item.key)

    def _letter(self, result: Result, state: str, at: str | None) -> Letter:
        item, row = result.item, self._row
        return Letter(
            row.name, row.part, item.key, item.position, item.event.stream, state, item.attempts, result.status,
            result.error, result.stderr, clock_text(time.time()), at,
        )  # fmt: skip

    def _say(self, result: Result, then: str) -> None:
        said = f" ({last})" if (last := _last_line(result)) else ""
        self._tell(f"{result.item.place}: attempt {result.item.attempts} {result.error}{said}; {then}")

    def _stopped(self, result: Result) -> HandlerError:
        item, name = result.item, self._row.name
        said = f"{last}; " if (last := _last_line(result)) else ""
        tried = "once" if item.attempts == 1 else f"{item.attempts} times"
        return HandlerError(
            f"the reaction {name} stopped at {item.place}: the handler {result.error}",
            why=f"{said}it was tried {tried}; correct it and run the reaction again, or have it parked or skipped with"
            " --on-error",
            fix=f"esctl dead-letter show {word(name)} '#{item.position:d}'",
            position=item.position,
            status=result.status,
            stderr=result.stderr,
        )

    def _broken(self) -> HandlerError:
        return HandlerError(
            f"the reaction {self._row.name} waits: {self._breaker.failing} events failed one after the other",
            why=f"the last one: {self._row.error}; no handler is started for a while",
            fix=f"esctl reaction status {word(self._row.name)}",
        )

    # Saving

    def _touch(self) -> None:
        """Something changed that has to be saved."""
        if self._since is None:
            self._since = time.time()

    def _save_if_due(self) -> None:
        now = time.time()
        if self._handlers.running != self._row.running and self._since is None:
            self._since = now + SHOW_SECONDS - SAVE_SECONDS
        idle = bool(self._unsaved) and not self._handlers.running and not self._lanes.is_ready
        changed = self._since is not None and (now >= self._since + SAVE_SECONDS or idle)
        if changed or self._changed + len(self._unsaved) >= SAVE_EVENTS or now > self._leased + lease.RENEW_SECONDS:
            self._save()

    def _save(self, *, last: bool = False) -> None:
        """Save how far it has come, with the events that handlers printed, in one transaction.

        Raises ConflictError with the code LOST if another process runs the reaction now. Handlers whose events are
        refused have failed. If another process writes for long, it is saved later.
        """
        while True:
            try:
                with self._log.transaction():
                    self.summary.appended += self._outputs.append(self._unsaved)
                    self._ahead = bool(self._unsaved)
                    for item, _ in self._unsaved:
                        self._finished(item)
                    self._store_all(last=last)
                self._ahead = False
            except JudgedError as judged:
                self._unsaved = [(item, events) for item, events in self._unsaved if item is not judged.item]
                self._failed(_refused(judged.item, judged.error))
            except UnavailableError as error:
                if error.code != BUSY or self._ahead or last or time.time() > self._leased + lease.LEASE_SECONDS / 2:
                    raise
                return
            else:
                break
        if self._unsaved:
            self._head = max(self._head, self._log.head().position)
        self._log.notes.clear()
        self._unsaved, self._changed, self._since = [], 0, None
        self._leased = time.time()

    def _store_all(self, *, last: bool) -> None:
        now, prefix = time.time(), self._window.prefix
        if prefix != self._row.position:
            self._row = self._row._replace(position=prefix, hash=self._log.store.places().hash_at(prefix))
        until = self._breaker.until
        self._row = self._row._replace(
            done=msgspec.json.encode(self._window.beyond()).decode(),
            failing=self._breaker.failing,
            closed_until=None if until is None else clock_text(until),
            running=0 if last else self._handlers.running,
            rate=0.0 if last else self._rate(now),
            lease=None if last else lease.ends(),
            saved=clock_text(now),
        )
        self._store.save(self._row)
        self._letters.save()

    def _rate(self, now: float) -> float:
        """Events a second, over the last half minute."""
        self._rates = [(at, handled) for at, handled in self._rates if at > now - RATE_SECONDS]
        self._rates.append((now, self._row.handled))
        since, before = self._rates[0]
        return round((self._row.handled - before) / (now - since), 3) if now > since else 0.0


def _last_line(result: Result) -> str:
    """The last line that a handler wrote to stderr, mostly the error itself; `dead-letter show` has the others."""
    return result.stderr.strip().rpartition("\n")[2][-300:]


def _refused(item: Item, error: EsctlError) -> Result:
    """The failure of a handler whose events are refused."""
    return Result(item, 1, f"printed what is refused: {error.what}", error.why)
