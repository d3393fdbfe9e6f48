"""Kills every command that writes before each of its file operations, or has one of them fail; nothing may be lost.

    python -m tests.long.kills [--points N] [--case NAME] [--mode MODE] [--at N] [--keep]
    python -m tests.long.kills --seeded                                  bugs that have to be found

For each case (a command, and the folder that it starts from) the operations of an undisturbed run are counted. Then the
command runs again in a fresh copy of the folder, and at the n-th operation something happens:

* `kill`: SIGKILL, half of it (`kill half`) in the middle of a write;
* `EIO`, `ENOSPC`: this operation alone fails; `full`: half of a write is done, then nothing has room any more; `dead`:
  this and all later operations fail.

After a kill, and after an error, which the exit code has to tell:

* `verify --full` finds every log whole that has its name, and every event that was there is there unaltered;
* what was acknowledged is there; what belongs together is there whole or not at all;
* the same command (or the one that the case names) finishes the work; then the folder holds what it holds after an
  undisturbed run: files, events, states, rows, segments; no draft, no WAL, nothing of an erased payload.

Exit code 0 under a fault means that all is done. Every point is tried, or N of each case and mode, evenly. Prints a
table; exits with 1 if a point failed, and says how to repeat it. With --keep its folder stays.
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.long import faults, seeded, shim
from tests.long.faults import CASES, Case, Done, Events, Picture
from tests.long.seeded import Bug

MODES = {
    "kill": ("kill", 0),
    "kill half": ("kill half", 0),
    "EIO": ("fail", errno.EIO),
    "ENOSPC": ("fail", errno.ENOSPC),
    "full": ("fail half", errno.ENOSPC),
    "dead": ("fail on", errno.EIO),
}
TIDY = ("archive", "create", "--keep-last", "1000000")
HONEST = (4, 8)  # exit codes of a command that met a fault: what it said is not done


BUGS = (
    Bug(
        "batches are stored in parts", ("append --batch", "kill"), "append/ingest.py",
        "batch=options.batch or BATCH_LINES, limit", "batch=1, limit",
    ),
    Bug(
        "drafts of killed runs stay", ("backup", "kill"), "store/files.py",
        "os.unlink(name, dir_fd=folder)", "pass",
    ),
    Bug(
        "the file of a segment is not recorded", ("archive create --to", "kill"), "archive/folders.py",
        "log.store.archiving().leave(recorded_path(log, path), draft.stat().st_ino)", "pass",
    ),
    Bug(
        "a rollback that was cut short cannot be continued", ("projection rollback", "kill"), "projections/admin.py",
        "if newest is not None and newest.held", "if newest is None",
    ),
    Bug(
        "rows and checkpoint of a projection have a transaction each", ("projection run", "kill"),
        "projections/runs.py", "                _advance(projections,",
        "            with log.transaction():\n                _advance(projections,",
    ),
    Bug(
        "an error of the disk is passed over", ("archive export", "EIO"), "store/files.py",
        'raise UnavailableError(f"cannot write {target}", why=error.strerror or str(error)) from error', "pass",
    ),
)  # fmt: skip


class Undisturbed(NamedTuple):
    """What a case does where nothing happens: its operations, what it prints, what is there before and afterwards."""

    operations: int
    done: Done
    before: Events
    stored: int
    after: Picture


class Result(NamedTuple):
    """A point that was tried: the command's exit code (negative: the signal), what was wrong."""

    case: str
    mode: str
    at: int
    code: int
    wrong: list[str]


@cache
def undisturbed(case: Case) -> Undisturbed:
    """Run a case, and what finishes it."""
    work = faults.copied(faults.state(case.state), faults.place() / "work")
    before = faults.events(work)
    control = shim.Control(faults.place() / "control")
    done = faults.esctl(
        work, *case.arguments, input=case.input, orders=shim.orders(work, "count", control=control.path)
    )
    operations = control.operations
    control.close()
    assert done.returncode == 0, (case.name, done.stderr.decode())
    stored = len(faults.events(work))
    if case.again is not None:
        finish(work, case)
    return Undisturbed(operations, done, before, stored, faults.picture(work))


def finish(work: Path, case: Case) -> list[str]:
    """Run what finishes a case; what was wrong."""
    done = faults.run_tested(work, *(case.again or case.arguments), input=case.input)
    if done.returncode and done.returncode not in case.may:
        return [f"run again, it ends with {done.returncode}: {done.stderr.decode()}"]
    return []


def point(case: Case, mode: str, at: int) -> Result | None:
    """Try one point; None if nothing can happen there (a full disk does not fail a removal)."""
    undisturbed(case)  # before the folder is in use
    work = faults.copied(faults.state(case.state), faults.place() / "work")
    control = shim.Control(faults.place() / "control")
    order, error = MODES[mode]
    orders = shim.orders(work, order, at, control=control.path, error=error)
    done = faults.run_tested(work, *case.arguments, input=case.input, orders=orders)
    reached = control.reached
    control.close()
    if not reached:
        return None
    return Result(case.name, mode, at, done.returncode, judged(case, work, done))


def judged(case: Case, work: Path, done: Done) -> list[str]:
    """What is wrong in a folder in which a case met a fault, and after it was run again."""
    wanted = undisturbed(case)
    wrong, now = faults.whole(work, wanted.before, case)
    wrong += faults.acknowledged(work, done, now, len(wanted.before))
    wrong += _whole_groups(case, wanted, now)
    wrong += list(_dishonest(work, case, wanted, done))
    if not (case.once and not faults.differences(wanted.after, faults.picture(work))):
        wrong += finish(work, case)
    if case.verb.startswith("archive"):  # run again it may find all done; what is left then, the next archiving removes
        tidied = faults.run_tested(work, *TIDY)
        wrong += [f"tidying fails: {tidied.stderr.decode()}"] if tidied.returncode else []
    if case.erasing:
        packed = faults.pieces(faults.state(case.state), case.erasing)
        wrong += [f"erased, and still in {name}" for name in faults.secrets_in(work, case.erasing, packed)]
    differing = faults.differences(wanted.after, faults.picture(work))
    wrong += [one for one in differing if case.again is None or one.startswith("stray files")]
    wrong += faults.whole(work, wanted.before, case)[0]
    return wrong


def _whole_groups(case: Case, wanted: Undisturbed, now: Events) -> Iterator[str]:
    """Whether events that belong together are there only in part."""
    total, found = wanted.stored - len(wanted.before), len(now) - len(wanted.before)
    if now and found not in (0, total) and not (case.unit and found % case.unit == 0):
        yield f"{found} of {total} events are stored"


def _dishonest(work: Path, case: Case, wanted: Undisturbed, done: Done) -> Iterator[str]:
    """Whether an exit code, a message or a full answer says what is not so."""
    said = done.stderr.decode()
    if done.returncode > 0 and done.returncode not in HONEST:
        yield f"exit code {done.returncode}: {said}"
    if "Traceback" in said or "bug" in said or "damaged" in said:
        yield f"it says: {said}"
    if case.verb == "projection show" or b'"exit":8' in done.stdout:  # rows that are not fresh; a line's own answer
        return
    answered = done.stdout.count(b"\n") >= wanted.done.stdout.count(b"\n") > 0
    if (done.returncode == 0 or (done.returncode < 0 and answered)) and case.again is None:
        yield from (
            f"it says all is done: {wrong}"
            for wrong in faults.differences(wanted.after, faults.picture(work))
            if not wrong.startswith("stray files")
            and not (case.verb == "archive create" and ": tables: " in wrong)  # hot rows go at its end, or by the next
        )


def points_of(bug: Bug) -> Iterator[list[str]]:
    """What is wrong at the points at which a bug may be seen."""
    name, mode = bug.where
    case = next(case for case in CASES if case.name == name)
    for at in sampled(undisturbed(case).operations, None):
        result = point(case, mode, at)
        if result is not None:
            yield result.wrong


def sampled(number: int, points: int | None) -> list[int]:
    """So many numbers from 1 to `number`, evenly, or all of them."""
    if points is None or points >= number:
        return list(range(1, number + 1))
    return sorted({1 + n * (number - 1) // max(1, points - 1) for n in range(points)})


def _tried(job: tuple[str, str, int, bool]) -> Result | None:
    name, mode, at, keep = job
    case = next(case for case in CASES if case.name == name)
    try:
        result = point(case, mode, at)
    except Exception as error:  # noqa: BLE001 - one point's failure is no reason not to try the others
        result = Result(name, mode, at, 0, [f"{type(error).__name__}: {error}"])
    if result is not None and keep:
        faults.keep(result.wrong)
    return result


def main() -> None:
    """Parse the command line, try the points, print what was found."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--points", type=int, help="of each case and mode; all of them without")
    options.add_argument("--case", choices=[case.name for case in CASES], action="append")
    options.add_argument("--mode", choices=MODES, action="append")
    options.add_argument("--at", type=int, help="only this point")
    options.add_argument("--keep", action="store_true", help="keep the folder of a point that failed")
    options.add_argument("--seeded", action="store_true", help="look for bugs that were put in")
    given = options.parse_args()
    if reason := shim.missing():
        sys.exit(reason)
    if given.seeded:
        sys.exit(seeded.report(BUGS, points_of) != 0)
    if missing := faults.uncovered():
        sys.exit(f"no case for {missing}")
    cases = [case for case in CASES if given.case is None or case.name in given.case]
    jobs = [
        (case.name, mode, at, given.keep)
        for case in cases
        for mode in given.mode or MODES
        for at in ([given.at] if given.at else sampled(undisturbed(case).operations, given.points))
    ]
    results = []
    for result in faults.spread(_tried, jobs):
        results.append(result)
        if result.wrong:
            print(again(result), *result.wrong, sep="\n  ", file=sys.stderr, flush=True)
    report([case.name for case in cases], list(given.mode or MODES), len(jobs), results)


def again(result: Result) -> str:
    """The command that repeats a point."""
    return f"python -m tests.long.kills --case '{result.case}' --mode '{result.mode}' --at {result.at} --keep"


def report(cases: list[str], modes: list[str], tried: int, results: list[Result]) -> None:
    """Print a table of the points, and exit."""
    points = Counter((result.case, result.mode) for result in results)
    print(f"{'points':36}" + "".join(f"{mode:>10}" for mode in modes) + f"{'failed':>10}")
    for case in cases:
        failed = sum(bool(result.wrong) for result in results if result.case == case)
        print(f"{case:36}" + "".join(f"{points[case, mode]:>10}" for mode in modes) + f"{failed:>10}")
    totals = Counter(result.mode for result in results)
    failures = [result for result in results if result.wrong]
    print(f"{'all':36}" + "".join(f"{totals[mode]:>10}" for mode in modes) + f"{len(failures):>10}")
    codes = Counter(result.code for result in results)
    print(f"{tried} tried, {len(results)} reached; exit codes {dict(sorted(codes.items()))}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
