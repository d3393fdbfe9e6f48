"""Print what an archive costs and saves, as ratios measured in the same run.

    python -m tests.benchmarks.archive [--events 1000000] [--streams 50000] [--rounds 1] [--whole] [--folder DIR]

Sizes are against `zstd -19` of the same NDJSON (of its first 200,000 lines, unless --whole: that takes ten minutes),
rates against `zstd -9`, or against the same command on a copy of the log that was not archived. Nothing is judged here.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench import ESCTL, TYPES, fresh, timed, told

FIRST = 200_000  # lines that zstd -19 gets, unless it gets all
NAMES = "Ada Ben Cleo Dana Emil Finn Gina Hugo Ines Jan Kaya Leo Mia Nils Olga Paul Rosa Sven Tara Uwe"
HOUSES = "Archer Brook Cole Dorn Ender Falk Grau"
WORDS = (
    "checked delivered front door after call customer paid full second try parcel weight invoice sent again returned "
    "address changed gift wrapped express delayed approved by phone stock empty partial refund open question closed"
)


def lines(events: int, streams: int, seed: int = 7) -> Iterator[str]:
    """Events of about 450 bytes, as replay prints them, in random streams; what is random in them are two UUIDs."""
    rng = random.Random(seed)
    names, houses, words = (said.split() for said in (NAMES, HOUSES, WORDS))
    customers = [f"{rng.choice(names)} {rng.choice(houses)}" for _ in range(40)]

    def uuid() -> str:
        text = f"{rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    for i in range(events):
        second = i // 10
        moment = f"2026-{1 + second // 2_419_200 % 12:02}-{1 + second // 86_400 % 28:02}T{second // 3600 % 24:02}"
        moment += f":{second // 60 % 60:02}:{second % 60:02}.{i % 10}{rng.randrange(100_000):05}Z"
        yield (
            f'{{"stream":"order-{rng.randrange(streams):06}","type":"{TYPES[rng.randrange(6)]}","id":"{uuid()}",'
            f'"time":"{moment}","data":{{"customer":"{rng.choice(customers)}","currency":"EUR",'
            f'"amount":{rng.randrange(1, 100)}.{rng.randrange(10, 100)},"note":"{" ".join(rng.choices(words, k=9))}"}},'
            f'"meta":{{"correlation_id":"{uuid()}","actor":"checkout","source":"shop.example"}}}}\n'
        )


def esctl(path: Path, *arguments: str | Path) -> tuple[float, float]:
    """Seconds and peak MiB of an esctl command on a log."""
    return timed([*ESCTL, *map(str, arguments), "--log", str(path)])


def ask(path: Path, *arguments: str) -> str:
    """What an esctl command says."""
    command = [*ESCTL, *arguments, "--log", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def packed(source: Path, level: int, threads: int) -> tuple[int, float]:
    """Bytes that zstd makes of a file, and its seconds."""
    target = source.with_suffix(".zst")
    seconds, _ = timed(["zstd", f"-{level}", f"-T{threads}", "-q", "-c", str(source)], sink=target)
    size = target.stat().st_size
    target.unlink()
    return size, seconds


def begun(source: Path, count: int) -> Path:
    """A file of the first lines of another."""
    part = source.with_name("first.ndjson")
    with source.open("rb") as whole, part.open("wb") as file:
        file.writelines(line for line, _ in zip(whole, range(count), strict=False))
    return part


def in_turn(hot: Path, archived: Path, rounds: int, *arguments: str) -> tuple[list[float], float]:
    """Seconds of a command on the archived log over those on the hot one, each round; and the least of the former."""
    ratios, least = [], float("inf")
    for _ in range(rounds):
        bare = esctl(hot, *arguments)[0]
        seconds = esctl(archived, *arguments)[0]
        ratios.append(seconds / bare)
        least = min(least, seconds)
    return ratios, least


def create(hot: Path, archived: Path, source: Path, rounds: int) -> float:
    """Make the archive, some times over; seconds of the last."""
    rates, peaks = [], []
    for _ in range(rounds):
        _, bare = packed(source, 9, 1)
        Path(f"{archived}-wal").unlink(missing_ok=True)
        Path(f"{archived}-shm").unlink(missing_ok=True)
        shutil.copyfile(hot, archived)
        seconds, peak = esctl(archived, "archive", "create", "--keep-last", "0", "--yes")
        rates.append(bare / seconds)
        peaks.append(peak)
    told("create, rate / zstd -9 -T1", rates, f"{seconds:.1f} s, {max(peaks):.0f} MiB")
    return seconds


def sizes(hot: Path, archived: Path, source: Path, events: int, *, whole: bool) -> None:
    """Bytes an event in segments, and the size of the log's file."""
    listed = [json.loads(line) for line in ask(archived, "archive", "list", "-o", "ndjson").splitlines()]
    ours = sum(segment["bytes"] for segment in listed) / sum(segment["events"] for segment in listed)
    counted = events if whole else min(events, FIRST)
    best = packed(source if whole else begun(source, counted), 19, 2)[0] / counted
    told("bytes an event / zstd -19", [ours / best], f"{ours:.1f} B, zstd -19 {best:.1f} B, with 16 B of salt")
    before, after = hot.stat().st_size, archived.stat().st_size
    told("log's file, after / before", [after / before], f"{after / events:.1f} B/event, was {before / events:.1f}")


def reads(hot: Path, archived: Path, events: int, rounds: int) -> None:
    """Reading the archived log against reading the hot one."""
    ratios, least = in_turn(hot, archived, rounds, "replay")
    told("replay, rate / hot", [1 / ratio for ratio in ratios], f"{events / least:,.0f} events/s")
    wanted = [str(name) for name in stream_names(hot)]
    for what in ("replay", "state"):
        alone = []
        for stream in wanted:
            ratio, least = in_turn(hot, archived, max(1, 12 * rounds // len(wanted)), what, stream)
            alone += ratio
        told(f"{what} of a stream, time / hot", alone, f"{least * 1000:.0f} ms")


def stream_names(hot: Path) -> list[str]:
    """Twelve streams of about 20 events."""
    found = [json.loads(line) for line in ask(hot, "streams", "-o", "ndjson").splitlines()]
    return [stream["stream"] for stream in sorted(found, key=lambda stream: abs(stream["events"] - 20))[:12]]


def checks(hot: Path, archived: Path, rounds: int) -> None:
    """Proving the archived log against proving the hot one."""
    whole, alone, seconds = [], [], 0.0
    for _ in range(rounds):
        bare, full = (esctl(path, "verify", "--full")[0] for path in (hot, archived))
        seconds, _ = esctl(archived, "archive", "verify")
        whole.append(full / bare)
        alone.append(seconds / bare)
    told("verify --full, time / hot", whole, f"{full:.1f} s")
    told("archive verify, time / verify hot", alone, f"{seconds:.1f} s")


def append(hot: Path, archived: Path, streams: int, rounds: int) -> None:
    """Appending to the archived log against appending to the hot one. Comes last: both grow."""
    ratios, rates = [], []
    for n in range(3 * rounds):
        source = hot.with_name("more.ndjson")
        with source.open("w") as file:
            file.writelines(lines(10_000, streams, seed=100 + n))
        bare, _ = esctl(hot, "append", source)
        seconds, _ = esctl(archived, "append", source)
        ratios.append(bare / seconds)
        rates.append(10_000 / seconds)
    told("append of 10,000, rate / hot", ratios, f"{max(rates):,.0f} events/s")


def run(folder: Path, events: int, streams: int, rounds: int, *, whole: bool) -> None:
    """Every figure."""
    given, hot, archived = folder / "in.ndjson", folder / "hot.db", folder / "archived.db"
    with given.open("w") as file:
        file.writelines(lines(events, streams))
    esctl(fresh(hot), "append", given)
    source = folder / "replay.ndjson"
    timed([*ESCTL, "replay", "--log", str(hot)], sink=source)
    print(f"{events:,} events of {source.stat().st_size / events:.0f} bytes in {streams:,} streams", flush=True)
    create(hot, archived, source, rounds)
    sizes(hot, archived, source, events, whole=whole)
    reads(hot, archived, events, rounds)
    checks(hot, archived, rounds)
    append(hot, archived, streams, rounds)


def main() -> None:
    """Run all."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--streams", type=int, default=50_000)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--whole", action="store_true", help="zstd -19 of everything")
    options.add_argument("--folder", type=Path, help="where the files go; kept [a temporary folder]")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder: Path = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        run(folder, given.events, given.streams, given.rounds, whole=given.whole)


if __name__ == "__main__":
    main()
