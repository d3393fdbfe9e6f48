"""Runs every command that writes on a disk that has only so many KiB left.

    python -m tests.long.full_disks [--rooms 14] [--step KIB] [--case NAME]

The disk is a small file system in memory, which only root can mount. For each case of tests/long/kills.py the room
grows step by step. A command may fail (its exit code and message have to say so), or end with 0 and have done all; then
the disk is emptied, and what holds after a kill has to hold here: see tests/long/kills.py. Prints a table; exits with 1
if a try failed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.long import faults, kills, shim
from tests.long.faults import CASES, Case

DISK_BYTES = 16 * 1024 * 1024


@contextmanager
def disk() -> Iterator[Path | None]:
    """A small file system; None where none can be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="esctl-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def tried(case: Case, folder: Path, kibibytes: int) -> tuple[int, list[str]]:
    """Run a case with so much room; its exit code, and what was wrong."""
    kills.undisturbed(case)
    work = faults.copied(faults.state(case.state), folder / "work")
    filler = folder / "filler"
    room = os.statvfs(folder)
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - kibibytes * 1024)))
    done = faults.esctl(work, *case.arguments, input=case.input)
    filler.unlink()
    return done.returncode, kills.judged(case, work, done)


def main() -> None:
    """Parse the command line, try the rooms, print what was found."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rooms", type=int, default=14, help="for each case")
    options.add_argument("--step", type=int, default=28, help="KiB from one room to the next")
    options.add_argument("--case", choices=[case.name for case in CASES], action="append")
    given = options.parse_args()
    if reason := shim.missing():
        sys.exit(reason)
    total = failures = 0
    with disk() as folder:
        if folder is None:
            sys.exit("only root can mount a small disk")
        for case in CASES:
            if given.case is not None and case.name not in given.case:
                continue
            codes = Counter[int]()
            for kibibytes in range(0, given.rooms * given.step, given.step):
                code, wrong = tried(case, folder, kibibytes)
                codes[code] += 1
                total += 1
                failures += bool(wrong)
                if wrong:
                    print(f"{case.name}, {kibibytes} KiB left: {code}", *wrong, sep="\n  ", file=sys.stderr)
            print(f"{case.name:36}{dict(sorted(codes.items()))}", flush=True)
    shutil.rmtree(faults.base(), ignore_errors=True)
    print(f"{total} tries, {failures} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
