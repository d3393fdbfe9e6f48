"""Every command: shared options, the log that is meant, how failures are told, and how signals and pipes end a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from esctl import open_log
from tests.conftest import ESCTL, LIMITED, UNMEASURED, Esctl, environment, succeeded

COMMANDS = ("init", "append", "replay", "head", "verify", "backup", "migrate", "help")
LINE = b'{"stream":"s","type":"T"}\n'


@pytest.fixture(scope="module")
def much(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of more events than any pipe holds; it is copied, never used."""
    path = tmp_path_factory.mktemp("much") / "log.db"
    with open_log(path, write=True, create=True) as log:
        log.append_all({"stream": "s", "type": "T"} for _ in range(20_000))
    return path


@pytest.fixture
def big(much: Path, log_path: Path) -> Path:
    """A log of more events than any pipe holds, of this test's own."""
    shutil.copy(much, log_path)
    return log_path


def files_beside(log: Path) -> list[str]:
    """What stands in the log's folder: the log alone, once everybody has let go of it."""
    return sorted(path.name for path in log.parent.iterdir())


# Shared options and the log that is meant


@pytest.mark.parametrize(
    "options", [["--log", "log.db"], ["-l", "log.db"], ["--log=log.db"], ["-llog.db"]], ids=" ".join
)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("command", [["head"], ["replay", "-o", "json"]], ids=" ".join)
@pytest.mark.usefixtures("log_path")
def test_the_log_is_named_before_or_after_the_command(
    esctl: Esctl, options: list[str], before: bool, command: list[str]
) -> None:
    done = esctl(*options, *command) if before else esctl(*command, *options)
    assert succeeded(done) != ""


@pytest.mark.parametrize("options", [["-o", "json"], ["--format", "json"], ["--format=json"], ["-ojson"], ["-qojson"]])
def test_the_format_is_named_before_or_after_the_command(run: Esctl, options: list[str]) -> None:
    assert succeeded(run(*options, "head")) == succeeded(run("head", *options)) == succeeded(run("head", "-o", "json"))


@pytest.mark.parametrize("command", [["append", "s", "T"], ["replay"], ["head"], ["verify"], ["backup", "x"], ["init"]])
def test_every_command_takes_the_shared_options(run: Esctl, tmp_path: Path, command: list[str]) -> None:
    target = ["--log", "new.db"] if command == ["init"] else []
    shared = ["-q", "--yes", "--color", "never", "--error-format", "text", "--timeout", "3", "-v", "--debug"]
    assert run(*command, *target, *shared).returncode == 0
    assert (tmp_path / "log.db").exists()


def test_the_log_may_be_named_by_the_environment_and_the_option_wins(esctl: Esctl, log_path: Path) -> None:
    esctl("init", "--log", "other.db")
    esctl("append", "s", "T", "--log", "other.db")
    assert succeeded(esctl("head", env={"ESCTL_LOG": str(log_path)})).startswith("0:")
    assert succeeded(esctl("head", "--log", "other.db", env={"ESCTL_LOG": str(log_path)})).startswith("1:")
    assert esctl("replay", "-o", "csv", env={"ESCTL_LOG": "missing.db"}).returncode == 3


@pytest.mark.parametrize("command", [["head"], ["replay", "--limit", "1"], ["append", "s", "T"], ["verify"]])
def test_the_nearest_esctl_db_above_is_found(esctl: Esctl, tmp_path: Path, command: list[str]) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert esctl(*command, cwd=below, env={"HOME": str(tmp_path)}).returncode == 3
    esctl("init")
    assert esctl(*command, cwd=below).returncode == 0
    esctl("init", cwd=tmp_path / "a")
    esctl("append", "near", "T", cwd=tmp_path / "a")
    assert '"near"' in esctl("replay", cwd=below).stdout


def test_the_search_ends_at_the_home_folder(esctl: Esctl, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    esctl("init")
    done = esctl("head", cwd=home / "work", env={"HOME": str(home)})
    assert (done.returncode, done.stdout) == (3, "")
    assert "fix: esctl init" in done.stderr
    esctl("init", cwd=home)
    assert esctl("head", cwd=home / "work", env={"HOME": str(home)}).returncode == 0


def test_a_folder_that_was_removed_has_no_log_and_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$0" head'
    done = subprocess.run(["sh", "-c", script, ESCTL], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "bug" not in done.stderr
    assert done.returncode == 3


def test_a_path_that_no_file_can_have_is_no_bug(esctl: Esctl) -> None:
    for command in (["head"], ["append", "s", "T"], ["init"]):
        done = esctl(*command, "--log", "x" * 3000)
        assert done.returncode in (2, 3, 8)
        assert "bug" not in done.stderr


def test_a_folder_is_not_a_log(esctl: Esctl, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for command in (["head"], ["append", "s", "T"], ["replay", "--last", "1"]):
        done = esctl(*command, "--log", "folder")
        assert done.returncode == 2
        assert "folder is a folder" in done.stderr


@pytest.mark.parametrize("value", ["nan", "-1", "x", "inf", ""])
def test_a_timeout_is_a_number_of_seconds(run: Esctl, value: str) -> None:
    assert run("head", f"--timeout={value}").returncode == 2


def test_the_format_may_be_named_by_the_environment_and_the_option_wins(run: Esctl) -> None:
    assert succeeded(run("head", env={"ESCTL_FORMAT": "json"})) == succeeded(run("head", "-o", "json"))
    assert succeeded(run("head", "-o", "raw", env={"ESCTL_FORMAT": "json"})) == succeeded(run("head"))
    for command in (["head"], ["append", "s", "T"], ["replay"]):
        done = run(*command, env={"ESCTL_FORMAT": "xml"})
        assert (done.returncode, done.stdout) == (2, "")
        assert "ESCTL_FORMAT" in done.stderr
    assert succeeded(run("head")).startswith("0:")


@pytest.mark.parametrize("command", [["replay"], ["head"], ["verify"], ["append", "s", "T", "--dry-run", "--id", "e"]])
def test_force_color_does_not_make_a_terminal_of_a_pipe(run: Esctl, command: list[str]) -> None:
    run("append", "s", "T")
    forced = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm"}
    assert succeeded(run(*command, env=forced)) == succeeded(run(*command))


# Help and near misses


def test_help_lists_every_command(esctl: Esctl) -> None:
    text = succeeded(esctl("--help"))
    assert all(f"\n  {command} " in text for command in COMMANDS)


@pytest.mark.parametrize(
    "wrong",
    [
        ["zzz"],
        ["replay", "--zzz"],
        ["replay", "--limit"],
        ["replay", "a", "b"],
        ["replay", "-o", "xml"],
        ["--log"],
        ["--log", "log.db"],
        ["head", "--color", "sometimes"],
        ["head", "--error-format", "xml"],
        ["backup"],
        ["backup", "a", "b"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_refused(run: Esctl, wrong: list[str]) -> None:
    done = run(*wrong)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() != ""
    assert "bug" not in done.stderr


# How failures are told


FAILURES = [
    pytest.param(["replay", "nothing"], 3, "not-found", id="stream"),
    pytest.param(["head", "--log", "missing.db"], 3, "not-found", id="log"),
    pytest.param(["append", "s", "T", "--expect", "3"], 4, "conflict", id="conflict"),
    pytest.param(["append", "s", "T", "{"], 5, "refused", id="payload"),
    pytest.param(["append"], 5, "refused", id="line"),
    pytest.param(["append", "--skip-invalid"], 5, "refused", id="skipped lines"),
    pytest.param(["verify", "--expect-head", f"9:{'0' * 64}"], 6, "verification", id="verification"),
    pytest.param(["head", "--log", "text.db"], 7, "storage-version", id="no log"),
    pytest.param(["backup", "nowhere/copy.db"], 8, "unavailable", id="target"),
    pytest.param(["zzz"], 2, "usage", id="command"),
    pytest.param(["replay", "--zzz"], 2, "usage", id="option"),
    pytest.param(["replay", "--since", "garbage"], 2, "usage", id="point"),
]


@pytest.mark.parametrize(("arguments", "code", "kind"), FAILURES)
@pytest.mark.parametrize("spelling", [["--error-format", "json"], ["--error-format=json"]], ids=["two words", "one"])
def test_the_last_line_of_stderr_is_one_json_object_where_that_is_asked_for(
    run: Esctl, tmp_path: Path, arguments: list[str], code: int, kind: str, spelling: list[str]
) -> None:
    (tmp_path / "text.db").write_text("no database\n" * 100, encoding="utf-8")
    for words in ([*arguments, *spelling], [*spelling, *arguments]):
        done = run(*words, input="bad\n")
        error = json.loads(done.stderr.splitlines()[-1])
        assert (done.returncode, error["exit"], error["error"]) == (code, code, kind)
        assert {"what", "why", "fix"} <= set(error)
        assert error["what"]


@pytest.mark.parametrize(("arguments", "code", "kind"), FAILURES)
def test_a_failure_is_told_on_stderr_and_stdout_is_data_only(
    run: Esctl, tmp_path: Path, arguments: list[str], code: int, kind: str
) -> None:
    (tmp_path / "text.db").write_text("no database\n" * 100, encoding="utf-8")
    done = run(*arguments, input="bad\n")
    assert (done.returncode, kind in done.stderr and kind.endswith("-")) == (code, False)
    assert any(line.startswith("error: ") for line in done.stderr.splitlines())
    for line in done.stdout.splitlines():
        assert isinstance(json.loads(line), dict)
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback_of_a_failure(run: Esctl) -> None:
    assert "Traceback" in run("replay", "nothing", "--debug").stderr
    assert "Traceback" not in run("replay", "nothing").stderr


def test_quiet_leaves_data_and_errors_and_no_receipts(run: Esctl) -> None:
    assert succeeded(run("append", "s", "T", "-q")) == ""
    assert succeeded(run("append", "-q", input=LINE)) == ""
    assert len(succeeded(run("append", "-q", "--receipts", input=LINE)).splitlines()) == 1
    assert succeeded(run("verify", "-q")) == ""
    assert len(succeeded(run("replay", "-q")).splitlines()) == 3
    done = run("replay", "nothing", "-q")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")


QUIET_MODEL = """
event.T.json_schema.required = ["n"]
[aggregate.s]
streams = "s"
initial = {}
[projection.p]
table = "create table p(n integer)"
on.T = "insert into p values (1)"
"""


def test_quiet_leaves_the_data_of_each_command_and_nothing_else(run: Esctl, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(QUIET_MODEL)
    (tmp_path / "e.json").write_bytes(LINE)
    for silent in (
        "append s T", "append e.json", "append s T --dry-run", "model apply m.toml --yes", "model plan m.toml",
        "model check m.toml", "projection run", "projection rebuild p", "snapshot take s", "snapshot verify",
        "snapshot prune", "mark m", "verify", "verify --full", "backup b.db", "fork f.db --until #1",
        "decide s --exec true", "erase #1 --reason r --force --yes", "projection verify", "projection drop p --yes",
        "archive create --keep-last 0 --yes", "archive verify", "projection run p", "compact --yes",
        "migrate --yes", "restore b.db --log r.db", "init --log n.db",
    ):  # fmt: skip
        assert (silent, succeeded(run(*silent.split(), "-q"))) == (silent, "")
    for reading in (
        "replay", "replay --category z --type TT", "state s", "streams", "types", "info", "marks", "head", "show 1",
        "projection list", "projection show p", "archive list", "snapshot list", "model show", "model history",
        "diff s --from v1 --to v2", "query select(1)", "version", "bisect s --when version=1",
    ):  # fmt: skip
        quiet, usual = run(*reading.split(), "-q"), run(*reading.split())
        assert (reading, quiet.stdout, quiet.stderr) == (reading, usual.stdout, "")


@pytest.fixture
def broken(run: Esctl, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `replay -o csv` in a new interpreter that finds, where csv would be, a module that does this."""
    run("append", "s", "T")
    (tmp_path / "broken").mkdir()
    path = f"{tmp_path / 'broken'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)

    def process(does: str, *words: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "broken" / "csv.py").write_text(f"{does}\n", encoding="utf-8")
        command = [ESCTL, "replay", "-o", "csv", *words]
        env = environment(ESCTL_LOG=str(tmp_path / "log.db"), PYTHONPATH=path)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    return process


def test_what_nobody_foresaw_exits_1_and_says_that_it_is_a_bug(
    broken: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    does = 'raise RuntimeError("the unforeseen")'
    done = broken(does)
    assert (done.returncode, done.stdout) == (1, "")
    assert "RuntimeError: the unforeseen" in done.stderr
    assert "this is a bug in esctl" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in broken(does, "--debug").stderr
    error = json.loads(broken(does, "--error-format", "json").stderr)
    assert (error["error"], error["exit"]) == ("failure", 1)


def test_too_little_memory_exits_8_and_is_no_bug(broken: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = broken("raise MemoryError")
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr == "error: there is not enough memory\n"


# Pipes and outputs that close


@pytest.mark.parametrize("command", ["replay", "replay -o json", "replay -o csv", "replay -o raw", "replay --reverse"])
def test_a_reader_whose_pipe_closes_dies_of_sigpipe_in_silence_and_leaves_nothing(big: Path, command: str) -> None:
    script = f'"$0" {command} | head -n 1 >/dev/null; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script, ESCTL], env=environment(ESCTL_LOG=str(big)), capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
    assert files_beside(big) == [big.name]


def test_a_writer_whose_receipts_nobody_reads_ends_at_a_batch(run: Esctl, log_path: Path, tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_bytes(LINE * 20_000)
    script = '"$0" append --receipts --batch 100 in.ndjson | head -n 1 >/dev/null; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", script, ESCTL],
        cwd=tmp_path,
        env=environment(ESCTL_LOG=str(log_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
    made = json.loads(succeeded(run("verify")))
    assert 0 < made["events"] < 20_000
    assert made["events"] % 100 == 0


def test_a_pipe_whose_reader_takes_nothing_is_no_error(run: Esctl) -> None:
    assert succeeded(run("help", "format")).count("\n") > 10
    script = '"$0" help format | true; exit "${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", script, ESCTL], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 141)  # it is short enough to fit the pipe if it comes first
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["append s T", "append s T a=1", "append", "replay", "head", "verify", "--help"])
def test_a_closed_stdout_is_refused_before_anything_is_written(run: Esctl, log_path: Path, command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" {command} >&-', ESCTL],
        env=environment(ESCTL_LOG=str(log_path)),
        input=LINE,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 8
    assert b"error: stdout is closed" in done.stderr
    assert succeeded(run("head")).startswith("0:")


def test_a_closed_stderr_changes_nothing(run: Esctl, log_path: Path) -> None:
    for command, code in (("append s T", 0), ("append s T a=1", 0), ("append s T '{'", 5), ("replay nothing", 3)):
        script = f'"$0" {command} 2>&-'
        env = environment(ESCTL_LOG=str(log_path))
        assert subprocess.run(["sh", "-c", script, ESCTL], env=env, check=False).returncode == code
    assert succeeded(run("head")).startswith("2:")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "command",
    [
        *["append s T", "append", "append --receipts", "replay", "replay -o json", "replay -o csv", "replay -o table"],
        *["head", "verify", "help", "append --help"],
    ],
)
def test_an_output_that_takes_no_more_is_unavailable(run: Esctl, log_path: Path, command: str) -> None:
    run("append", "s", "T")
    done = subprocess.run(
        ["sh", "-c", f'"$0" {command} >/dev/full', ESCTL],
        env=environment(ESCTL_LOG=str(log_path)),
        input=LINE.decode(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 8
    assert done.stderr.startswith("error: cannot write to stdout\n")
    assert json.loads(succeeded(run("verify")))["events"] == 1  # nothing was stored that was not acknowledged


@pytest.mark.parametrize(
    ("command", "receipt"),
    [
        ("append s T", '; do not repeat what the receipt says: {"position":1,"stream":"s","version":1,"id":'),
        ("append", '; do not repeat what the receipt says: {"appended":1,"duplicates":0,"first_position":1,'),
        ("append --receipts", "; all events up to position 1 are stored: do not append them again"),
        ("mark x", "; do not repeat what the receipt says: "),
    ],
)
def test_an_error_of_stdout_after_the_commit_says_what_is_stored(
    run: Esctl, log_path: Path, tmp_path: Path, command: str, receipt: str
) -> None:
    room = 4 * 1024 * 1024
    with (tmp_path / "out").open("wb") as out:
        out.truncate(room)
        out.seek(room)
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(room), ESCTL, *command.split()],
            env=environment(ESCTL_LOG=str(log_path)),
            input=LINE, stdout=out, stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 8
    assert receipt in done.stderr.decode()
    assert succeeded(run("head")).startswith("1:")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("where", ["2>/dev/full", "2> >(exec 2>&-)"])
def test_a_stderr_that_takes_no_more_changes_nothing(run: Esctl, log_path: Path, where: str) -> None:
    run("append", "account-1", "Deposited")
    for command, code in (
        ("append account-1 Depositd", 0),  # with a note
        ("append account-1 T '{'", 5),
        ("append account-1 T '{' --error-format json", 5),
        ("append account-1 T --expect 7", 4),
        ("replay nothing", 3),
        ("nothing", 2),
        ("mark early 2020-01-01", 0),
    ):
        env = environment(ESCTL_LOG=str(log_path))
        done = subprocess.run(
            ["bash", "-c", f'"$0" {command} {where}', ESCTL], env=env, stdout=subprocess.DEVNULL, check=False
        )
        assert (command, done.returncode) == (command, code)


# Signals


@contextmanager
def started(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run of esctl with pipes at both ends."""
    process = subprocess.Popen(
        [ESCTL, *arguments],
        env=environment(ESCTL_LOG=str(log), **UNMEASURED),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """What a run that got a signal still said; its stdin stays open, so that it is the signal that ends it."""
    assert process.stdout is not None
    assert process.stderr is not None
    process.wait(timeout=20)
    return process.stdout.read().decode(), process.stderr.read().decode()


def send(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdin is not None
    assert process.stdin.write(text) == len(text)


def wait_for_lock(log: Path) -> None:
    """Wait until a process is in a transaction on the log."""
    code = (
        "import sqlite3,sys,time\n"
        "c=sqlite3.connect(sys.argv[1],timeout=0,isolation_level=None)\n"
        "while True:\n"
        "  try: c.execute('begin immediate'); c.execute('rollback')\n"
        "  except sqlite3.OperationalError: break\n"
        "  time.sleep(0.02)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(log)], check=True, timeout=20)


SIGNALS = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


@SIGNALS
def test_a_signal_ends_an_endless_append_with_its_receipt_and_one_line(
    run: Esctl, log_path: Path, signum: signal.Signals
) -> None:
    with started(log_path, "append") as process:
        send(process, LINE * 3)
        while json.loads(succeeded(run("verify", "--quick")))["events"] < 3:
            time.sleep(0.02)
        process.send_signal(signum)
        out, err = ended(process)
    assert process.returncode == -signum
    assert json.loads(out) == {"appended": 3, "duplicates": 0, "first_position": 1, "last_position": 3}
    assert len(err.splitlines()) == 1
    assert err.startswith("interrupted")
    assert succeeded(run("head")).startswith("3:")
    assert files_beside(log_path) == [log_path.name]


@SIGNALS
def test_a_signal_ends_an_append_with_receipts_after_what_was_acknowledged(
    run: Esctl, log_path: Path, signum: signal.Signals
) -> None:
    with started(log_path, "append", "--receipts") as process:
        assert process.stdout is not None
        send(process, LINE)
        assert json.loads(process.stdout.readline())["position"] == 1
        process.send_signal(signum)
        out, err = ended(process)
    assert (process.returncode, out) == (-signum, "")
    assert len(err.splitlines()) == 1
    assert succeeded(run("head")).startswith("1:")


@SIGNALS
@pytest.mark.parametrize("options", [[], ["--receipts"]])
def test_a_signal_rolls_an_atomic_append_back(
    run: Esctl, log_path: Path, signum: signal.Signals, options: list[str]
) -> None:
    with started(log_path, "append", "--atomic", *options) as process:
        send(process, LINE * (100 if options else 15_000))  # more receipts than a pipe holds would block both
        wait_for_lock(log_path)
        process.send_signal(signum)
        out, err = ended(process)
    assert process.returncode == -signum
    assert "rolled back" in err
    assert len(err.splitlines()) == 1
    assert out == "" if options else json.loads(out)["appended"] == 0
    assert succeeded(run("head")).startswith("0:")
    assert files_beside(log_path) == [log_path.name]


@SIGNALS
def test_a_signal_ends_an_append_whose_receipts_nobody_reads(
    run: Esctl, log_path: Path, tmp_path: Path, signum: signal.Signals
) -> None:
    (tmp_path / "in.ndjson").write_bytes(LINE * 20_000)
    with started(log_path, "append", "--receipts", "--batch", "1000", str(tmp_path / "in.ndjson")) as process:
        stored = -1
        while stored != (stored := json.loads(succeeded(run("verify", "--quick")))["events"]) or stored == 0:
            time.sleep(0.3)  # until it waits for room in the pipe
        process.send_signal(signum)
        assert process.wait(timeout=5) == -signum
    assert json.loads(succeeded(run("verify")))["events"] == stored


@SIGNALS
def test_a_signal_ends_a_wait_for_a_lock(run: Esctl, log_path: Path, signum: signal.Signals) -> None:
    code = (
        "import sqlite3,sys;c=sqlite3.connect(sys.argv[1],isolation_level=None);c.execute('begin immediate');"
        "print('held',flush=True);sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(log_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with started(log_path, "append", "s", "T", "--timeout", "600") as process:
            time.sleep(0.5)  # it waits by now, or will do so on a slow machine: either way the signal ends it
            assert process.poll() is None
            process.send_signal(signum)
            ended(process)
        assert process.returncode == -signum
        holder.communicate(b"")
    assert succeeded(run("head")).startswith("0:")


@SIGNALS
def test_a_signal_ends_a_reader_in_silence(big: Path, signum: signal.Signals) -> None:
    with started(big, "replay") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"position":1,')
        process.send_signal(signum)
        out, err = ended(process)
    assert (process.returncode, err) == (-signum, "")
    assert out.count("\n") < 19_999


IGNORED = """
import os, sys
from esctl.cli import main

class Ignored:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        for _ in range(1000):  # the signal is handled between two steps
            pass

def run(argv):
    Ignored()
    print("went on", flush=True)
    return 0

main.run = run
main.main()
"""


@SIGNALS
def test_a_signal_that_comes_where_python_ignores_exceptions_ends_the_process(signum: int) -> None:
    done = subprocess.run([sys.executable, "-c", IGNORED, str(int(signum))], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signum, b"", b"")


def test_ctrl_c_stops_a_shell_loop(run: Esctl, log_path: Path) -> None:
    script = 'for i in 1 2 3; do "$0" append --receipts; echo "went on after $i"; done; echo done'
    bash = "/bin/bash" if Path("/bin/bash").exists() else "/usr/bin/bash"
    with subprocess.Popen(
        [bash, "-c", script, ESCTL],
        env=environment(ESCTL_LOG=str(log_path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        assert shell.stderr is not None
        shell.stdin.write(LINE)
        shell.stdin.flush()
        assert json.loads(shell.stdout.readline())["position"] == 1
        os.killpg(shell.pid, signal.SIGINT)
        try:
            shell.wait(timeout=10)
            out, err = shell.stdout.read().decode(), shell.stderr.read().decode()
        finally:
            if shell.returncode is None:
                os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == -signal.SIGINT
    assert out == ""
    assert err.count("\n") == 1
    assert succeeded(run("head")).startswith("1:")


# Without the script


def test_the_module_is_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "esctl", "head"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    asked = subprocess.run(
        [ESCTL, "head"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (asked.returncode, asked.stdout, asked.stderr)
    assert "fix: esctl init" in done.stderr
