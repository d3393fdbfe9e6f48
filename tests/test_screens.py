"""What people see: the main commands as golden text, and that nothing in a log acts on a terminal.

The golden text is in `tests/screens`; after a change that is meant to be seen, write it anew, and look at it:

    python tests/test_screens.py --update && git diff tests/screens
"""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from esctl.events.lines import Defaults, parser
from esctl.log import EventLog
from esctl.output import console
from esctl.points.marks import set_mark
from tests import runner
from tests.conftest import ESCTL, SAMPLE, write_empty_log, writer_of
from tests.output.conftest import cells

SCREENS = Path(__file__).with_name("screens")
WIDTHS = (80, 160)

WIDE = [
    json.dumps({"stream": stream, "type": type_, "id": f"w-{i}", "time": f"2026-05-0{i}T09:00:00Z", "data": data},
               ensure_ascii=False)
    for i, stream, type_, data in (
        (1, "注文-1", "注文された", {"品": "急須", "数": 2, "長": "長" * 90}),
        (2, "order-😀", "Ordered🫖", {"note": "🫖" * 90}),
        (3, "ordre-é", "Commandé", {"note": "plain, to compare with " * 8, "n": 1.50}),
    )
]  # fmt: skip


def environment(columns: int = 120, **changes: str) -> dict[str, str]:
    """What a child runs in: a fixed zone, an hour east of Greenwich, and a fixed name."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ESCTL_") and k not in ("NO_COLOR", "FORCE_COLOR")}
    said = {"TZ": "CET-1", "USER": "zoe", "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "50"}
    return {**kept, **said, **changes}


def made(path: Path, *lines: str, marks: tuple[str, ...] = ()) -> Path:
    """A log of lines of NDJSON, with marks at its end."""
    write_empty_log(path)
    parse = parser(Defaults())
    with EventLog(path, write=True) as log:
        with log.transaction():
            writer_of(log).append([parse(line.encode()) for line in lines])
        for mark in marks:
            set_mark(log, mark, len(lines))
    return path


class Logs(NamedTuple):
    """The logs of the screens."""

    orders: Path
    wide: Path
    marked: Path
    shop: Path


def logs_in(folder: Path) -> Logs:
    """Make the logs of the screens."""
    lines = (SAMPLE / "orders.ndjson").read_text().splitlines()
    shop = made(folder / "shop.db", *lines)
    run(shop, "model", "apply", str(SAMPLE / "shop.toml"))
    run(shop, "projection", "run")
    logs = Logs(
        made(folder / "orders.db", *lines), made(folder / "wide.db", *WIDE), made(folder / "marked.db", *lines), shop
    )
    for mark in (("opening", "#1"), ("january", "#120"), ("today's-audit",)):
        run(logs.marked, "mark", *mark)
    return logs


def run(log: Path, *arguments: str, columns: int = 120) -> subprocess.CompletedProcess[str]:
    """Run esctl without a terminal."""
    done = runner.run([*arguments, "-l", str(log)], cwd=log.parent, env=environment(columns))
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


# Golden text

FIRST = json.loads((SAMPLE / "orders.ndjson").read_text().splitlines()[1])
COMMANDS: dict[str, list[str]] = {
    "replay": ["replay", "--limit", "12"],
    "replay-stream": ["replay", FIRST["stream"]],
    "replay-fields": ["replay", "--where", "data ->> 'amount' > 300", "--fields", "position,stream,type,data.amount"],
    "log": ["log", FIRST["stream"]],
    "log-stat": ["log", FIRST["stream"], "--stat"],
    "show": ["show", "2"],
    "show-trace": ["show", FIRST["id"], "--trace"],
    "streams": ["streams", "order-10[01]*"],
    "types": ["types"],
    "info": ["info"],
    "marks": ["marks"],
    "query": ["query", "select type, count(*) as events, avg(data ->> 'amount') as mean from log group by type"],
    "head": ["head"],
    "verify": ["verify"],
    "error-near-miss": ["replay", "ordre-1001"],
    "error-where": ["replay", "--where", "amount > 100"],
    "error-option": ["replay", "--revrse"],
    "projection-customer_orders": ["projection", "show", "customer_orders", "--order-by", "spent desc"],
    "projection-daily_revenue": [
        "projection", "show", "daily_revenue", "--limit", "20", "--bars", "revenue", "--total", "revenue"
    ],
    "projection-payments_by_status": ["projection", "show", "payments_by_status", "--total", "amount"],
    "projection-until": ["projection", "show", "payments_by_status", "--until", "2026-01-31"],
    "projection-list": ["projection", "list"],
    "projection-diff": ["projection", "diff", "daily_revenue", "--from", "2026-01-28", "--to", "2026-01-30"],
    "projection-error-near-miss": ["projection", "show", "daily_revenu"],
    "projection-error-total": ["projection", "show", "daily_revenue", "--total", "revenu"],
    "wide-replay": ["replay"],
    "wide-streams": ["streams"],
    "wide-info": ["info"],
    "wide-show": ["show", "2"],
}  # fmt: skip
# What differs from run to run, by the name before it or by its form.
_VARIES = re.compile(
    r"^((?:log_id|created|recorded|first_recorded|last_recorded|file_bytes|salt|hash) +)\S.*|\b[0-9a-f]{64}\b",
    re.MULTILINE,
)
_MARKED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+01")


@cache
def screen(logs: Logs, name: str, columns: int) -> str:
    """What a command shows at a width, with all that differs from run to run masked; its errors too."""
    log = {"wide": logs.wide, "marks": logs.marked, "projection": logs.shop}.get(name.partition("-")[0], logs.orders)
    done = run(log, *COMMANDS[name], *([] if name == "head" else ["-o", "table"]), columns=columns)
    text = (done.stdout + done.stderr).replace(str(log), f"/logs/{log.name}")
    text = _VARIES.sub(lambda varying: f"{varying[1] or ''}~", text)
    if name == "marks":
        text = _MARKED.sub("~" * 22, text)
    lines = [line.rstrip() for line in text.splitlines()]
    return f"$ esctl {' '.join(COMMANDS[name])}\n" + "\n".join(lines) + f"\n[exit {done.returncode}]\n"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    return logs_in(tmp_path_factory.mktemp("screens"))


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_screen_looks_as_it_did(logs: Logs, name: str, columns: int) -> None:
    golden = (SCREENS / f"{name}-{columns}.txt").read_text()
    assert screen(logs, name, columns) == golden, "see the docstring of this file"


def test_every_screen_that_is_kept_is_looked_at() -> None:
    kept = {path.name for path in SCREENS.iterdir()}
    assert kept == {f"{name}-{columns}.txt" for name in COMMANDS for columns in WIDTHS}


TABLES = [
    *(
        "replay",
        "replay-stream",
        "replay-fields",
        "log",
        "log-stat",
        "show-trace",
        "streams",
        "types",
        "marks",
        "query",
    ),
    *("wide-replay", "wide-streams"),
    *(name for name in COMMANDS if name.startswith("projection-") and "error" not in name),
]


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_no_line_of_a_table_is_wider_than_the_terminal(logs: Logs, name: str, columns: int) -> None:
    assert max(map(cells, screen(logs, name, columns).splitlines()[1:])) <= columns


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", ["info", "wide-info"])
def test_no_line_of_bars_is_wider_than_the_terminal_and_all_bars_begin_in_one_column(
    logs: Logs, name: str, columns: int
) -> None:
    blocks = screen(logs, name, columns).split("\n\n")[1:]
    assert len(blocks) == 2
    for block in blocks:
        bars = [line for line in block.splitlines()[1:] if not line.startswith("[exit")]
        assert bars
        assert max(map(cells, bars)) <= columns
        # after the bars, two blanks and the count; 48 bars
        begins = {cells(re.sub(r"  [\d,]+$", "", line)) for line in bars}
        assert len(begins) == 1, block


@pytest.mark.parametrize("columns", WIDTHS)
def test_all_bars_of_a_column_begin_in_one_place_and_its_heading_is_whole(logs: Logs, columns: int) -> None:
    heading, *lines = screen(logs, "projection-daily_revenue", columns).splitlines()[1:]
    assert "Revenue" in heading
    begins = {found.start() for line in lines if (found := re.search("[▏▎▍▌▋▊▉█]", line))}
    assert len(begins) == 1


def test_columns_begin_at_the_same_place_in_every_row_whatever_is_in_them(logs: Logs) -> None:
    header, *rows = screen(logs, "wide-replay", 160).splitlines()[1:-1]
    assert len(rows) == 3
    for name in ("stream", "version", "type", "data"):
        at = cells(header[: header.index(name)])
        if name == "version":
            continue  # right-aligned
        for row in rows:
            before = _at(row, at)
            assert row[before - 1] == " ", (name, row)
            assert row[before] != " ", (name, row)


def _at(text: str, column: int) -> int:
    """The index of the character at a column of the terminal."""
    return next(i for i in range(len(text)) if cells(text[:i]) >= column)


# Nothing acts

HOSTILE_NAMES = [
    "[bold]x[/bold]",
    "[/]",
    "[link=http://evil]x",
    "[red]:smiley:",
    "right\u202eto\u202aleft\u2066and\u2069back",
    "marks\u200e\u200f\u061c",
    "line\u2028and\u2029paragraph",
    "zero\u200bwidth\u200d\ufeff",
    "=1+1",
    "+cmd|'/C calc'!A0",
    "@SUM(A1)",
    "-1+1",
]
ACTING = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b[2J\x1b[1;1H\x1b[?1049h",
    "\x1bP+q\x1b\\\x1bc",
    "\x9b31m\x9d0;title\x9c\x90q\x85\x8d",
    "\x00\x07\x08\r\n\t\x0b\x0c\x0e\x0f\x7f",
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, of a hostile name, in which every text that may be hostile is."""
    lines = [{"stream": "s", "type": "T", "id": "root", "meta": {"correlation_id": "c"}}]
    for name in HOSTILE_NAMES:
        both = {name: name}
        meta = both | {"correlation_id": "c", "causation_id": "root"}
        lines.append({"stream": name, "type": name, "id": name, "data": both, "meta": meta})
    texts = [*ACTING, *HOSTILE_NAMES]
    payloads = [{"stream": "s", "type": "T", "data": {t: [t]}, "meta": {t: t, "correlation_id": t}} for t in texts]
    escaped = [json.dumps(line) for line in [*lines, *payloads]]
    raw = [json.dumps(line, ensure_ascii=False) for line in payloads]  # unescaped, where JSON lets it stand so
    folder = tmp_path_factory.mktemp("hostile")
    return made(folder / "\x1b[31m\x9b2J\u202e[bold]\x07.db", *escaped, *raw, marks=tuple(HOSTILE_NAMES))


def on_a_terminal(log: Path, *arguments: str, columns: int = 100, input: str = "") -> str:
    """What a run prints to a terminal, stderr included."""
    terminal, side = pty.openpty()
    with subprocess.Popen(
        [ESCTL, *arguments, "-l", str(log)], stdin=subprocess.PIPE, stdout=side, stderr=side, env=environment(columns)
    ) as child:
        os.close(side)
        assert child.stdin is not None
        child.stdin.write(input.encode())
        child.stdin.close()
        printed = b"".join(_read(terminal))
    os.close(terminal)
    return printed.decode()


def _read(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            more = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side is closed
            return
        if not more:
            return
        yield more


OWN_STYLES = re.compile(r"\x1b\[(?:0|1)?m")  # bold and no longer bold: all that esctl's tables use
ACTS = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]|(?<!\r)\n|\r(?!\n)"
)


def acting(printed: str) -> list[str]:
    """The characters in the output of a terminal that do something, but for line ends and esctl's own bold."""
    return ACTS.findall(OWN_STYLES.sub("", printed).replace("\r\n", ""))


def test_the_judge_knows_what_acts() -> None:
    assert acting("\x1b[1mposition\x1b[0m  stream\r\n1  [bold]\r\n") == []
    for text in ACTING:
        assert acting(text)


OUTPUTS: dict[str, list[str]] = {
    "replay": ["replay"],
    "replay --wide": ["replay", "--wide"],
    "replay --fields": ["replay", "--system", "--fields", "stream,type,id,data,meta,data.x"],
    "replay --fields of a hostile name": ["replay", "--fields", "data.\x1b[31mred\x1b[0m,meta.right\u202eto"],
    "replay --template": ["replay", "--template", "{stream} {type} {id} {data} {meta} {meta.correlation_id}"],
    "log": ["log", HOSTILE_NAMES[4]],
    "log of hostile payloads": ["log", "s", "--wide"],
    "log --stat": ["log", HOSTILE_NAMES[4], "--stat"],
    "log --follow": ["log", HOSTILE_NAMES[4], "--follow", "--limit", "1", "-o", "table"],
    "log --follow of hostile payloads": ["log", "s", "--follow", "--limit", "8", "--wide", "-o", "table"],
    "show": ["show", "3"],
    "show of a hostile payload": ["show", "20"],
    "show by id": ["show", HOSTILE_NAMES[4]],
    "show --trace": ["show", "root", "--trace"],
    "streams": ["streams", "--system"],
    "types": ["types", "--system"],
    "info": ["info"],
    "marks": ["marks"],
    "query": ["query", "select * from log"],
    "query of the tables": ["query", "select name, hash from streams, head"],
    "query with hostile columns": ["query", 'select 1 as "\x1b[31m", \'\x1b]52;c;x\x07\' as "\u202e[bold]\x9b2J"'],
    "verify": ["verify"],
    "head": ["head"],
    "an error about a stream": ["replay", "\x1b[31m\u202e[bold]\x9b2J"],
    "an error about an event": ["show", "\x1b]0;x\x07\u2066[bold]"],
    "an error about a condition": ["replay", "--where", "\x1b[31m = '\x9b2J\u202e'"],
    "an error about a question": ["query", 'select "\x1b[31m\x9b2J\u202e"'],
    "an error about a field": ["replay", "--fields", "\x1b[31m\x9b2J\u202e"],
    "an error about a template": ["replay", "--template", "{\x1b[31m\x9b2J\u202e}"],
    "an error about a point": ["replay", "--since", "\x1b[31m\x9b2J\u202e"],
    "an error about a mark": ["mark", "\x1b[31m\x9b2J\u202e"],
    "an error about an option": ["replay", "--\x1b[31m\x9b2J\u202e"],
    "an error about a command": ["\x1b[31m\x9b2J\u202e"],
    "an error about a format": ["replay", "-o", "\x1b[31m\x9b2J\u202e"],
    "an error about a file": ["append", "\x1b[31m\x9b2J\u202e"],
    "an error about items": ["append", "s", "T", "a\x1b[31m\x9b2J\u202e:=b\x1b[31m\x9b2J\u202e"],
    "a conflict": ["append", "s", "T", "--id", HOSTILE_NAMES[4]],
    "a condition that is met": ["append", "s", "T", "--if-none-match", "stream <> '\u202e'"],
    "an error with its traceback": ["replay", "--debug", "\x1b[31m\u202e[bold]\x9b2J"],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_nothing_acts_on_the_terminal(hostile: Path, name: str) -> None:
    printed = on_a_terminal(hostile, *OUTPUTS[name])
    assert printed
    assert acting(printed) == []


EVERY_FIELD = ["--fields", "stream,type,id,data,meta,data.x"]
DATA: dict[str, list[str]] = {
    **{f"replay {form}": ["replay", "-o", form, "--system"] for form in console.FORMATS if form != "auto"},
    **{f"fields {form}": ["replay", *EVERY_FIELD, "-o", form] for form in ("csv", "tsv", "raw", "ndjson", "json")},
    **{f"query {form}": ["query", "select * from log", "-o", form] for form in ("csv", "tsv", "raw", "ndjson", "json")},
    **{f"streams {form}": ["streams", "-o", form] for form in ("csv", "tsv", "raw", "ndjson", "json")},
    "raw text": ["query", f"select '{ACTING[0]}' || char(155, 8238, 13)", "-o", "raw"],
    "show": ["show", "20", "-o", "ndjson"],
    "safe csv": ["query", "select * from log", "-o", "csv", "--safe-csv"],
}


@pytest.mark.parametrize("name", DATA)
def test_no_data_acts_on_the_terminal_in_any_format(hostile: Path, name: str) -> None:
    printed = on_a_terminal(hostile, *DATA[name])
    assert printed
    assert acting(printed.replace("\t", "")) == []  # tabs separate columns


def test_lines_of_json_stay_the_same_json_on_a_terminal(hostile: Path) -> None:
    for command in (["replay"], ["replay", "--fields", "stream,data"], ["query", "select * from log"]):
        printed = on_a_terminal(hostile, *command, "-o", "ndjson")
        piped = subprocess.run(
            [ESCTL, *command, "-o", "ndjson", "-l", str(hostile)], stdout=subprocess.PIPE, env=environment(), check=True
        ).stdout.decode()
        assert acting(piped)  # in a pipe nothing is changed
        shown, given = (text.replace("\r\n", "\n").split("\n")[:-1] for text in (printed, piped))
        assert [json.loads(line) for line in shown] == [json.loads(line) for line in given]


def test_nothing_in_refused_lines_and_receipts_acts_on_the_terminal(tmp_path: Path) -> None:
    log = made(tmp_path / "log.db")
    lines = [json.dumps({"stream": text, "type": "T"}, ensure_ascii=bool(i % 2)) for i, text in enumerate(ACTING)]
    lines += [json.dumps({"stream": "s", "type": "T", text: 1}, ensure_ascii=False) for text in (*ACTING, "\u202ex")]
    lines += [json.dumps({"stream": name, "type": name, "id": name}) for name in HOSTILE_NAMES]
    lines += ["\x1b[31m\x9b2J\u202e"]
    for way in (["--receipts", "--skip-invalid"], []):
        printed = on_a_terminal(log, "append", *way, input="\n".join(lines) + "\n")
        assert "is not JSON" in printed or "unknown key" in printed or "control character" in printed
        assert acting(printed) == []


def test_what_is_shown_is_what_is_there(hostile: Path) -> None:
    printed = on_a_terminal(hostile, "replay", "--fields", "stream", "--wide")
    for shown in ("[bold]x[/bold]", "[/]", "[link=http://evil]x", "[red]:smiley:", "right\\u202eto", "line\\u2028and"):
        assert shown in printed
    assert "\\x1b]52;c;ZXZpbA==\\x07" in on_a_terminal(hostile, "query", "select '\x1b]52;c;ZXZpbA==\x07' as x")


def test_what_a_template_says_itself_works_on_a_terminal_as_in_a_pipe(hostile: Path) -> None:
    printed = on_a_terminal(hostile, "replay", "--limit", "1", "--template", r"{position}\t{stream}\n{id}")
    assert printed == "1\ts\r\nroot\r\n"


RUNS = re.compile(r"\s*[=+\-@]|[\t\r]")
DEFUSED = {
    "replay": ["replay", "--system"],
    "replay --fields": ["replay", "--fields", "stream,type,meta.=1+1,data.@SUM(A1)"],
    "streams": ["streams"],
    "types": ["types"],
    "marks": ["marks"],
    "query": ["query", "select stream, char(9) || '=1', char(13) || '=1', ' =1' from log"],
    "query with leading tabs": ["query", "select char(9) || 'x', char(13) || 'x'"],
}


@pytest.mark.parametrize(("name", "format_"), [(name, "csv") for name in DEFUSED] + [("streams", "tsv")])
def test_safe_csv_has_no_cell_that_a_spreadsheet_runs(hostile: Path, name: str, format_: str) -> None:
    def rows(*options: str) -> list[list[str]]:
        text = run(hostile, *DEFUSED[name], "-o", format_, *options).stdout
        return list(csv.reader(io.StringIO(text, newline=""), delimiter="\t" if format_ == "tsv" else ","))

    plain, safe = rows(), rows("--safe-csv")
    assert any(RUNS.match(cell) for row in plain for cell in row)
    assert [cell for row in safe for cell in row if RUNS.match(cell)] == []
    for before, after in zip(plain, safe, strict=True):
        assert [cell.removeprefix("'") for cell in after] == [cell.removeprefix("'") for cell in before]


def test_numbers_stay_numbers_in_safe_csv(tmp_path: Path) -> None:
    log = made(tmp_path / "log.db")
    done = run(log, "query", "select -5 as a, -1.5 as b", "-o", "csv", "--safe-csv")
    assert done.stdout == "a,b\n-5,-1.5\n"


def update() -> None:
    """Write the golden text anew."""
    SCREENS.mkdir(exist_ok=True)
    for path in SCREENS.iterdir():
        path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        logs = logs_in(Path(folder))
        for name in COMMANDS:
            for columns in WIDTHS:
                (SCREENS / f"{name}-{columns}.txt").write_text(screen(logs, name, columns))


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    update()
