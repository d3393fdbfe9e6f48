"""Files and stdin one after the other: in order, decompressed, and each line with its file and its number in it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard  # noqa: TID253 - no start-up is to be saved here

from esctl.append.ingest import Interrupts, Lines
from esctl.append.inputs import Inputs
from esctl.errors import EsctlError, NotFoundError, RefusedError
from tests.conftest import ESCTL, Esctl, environment, succeeded

PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
every_packing = pytest.mark.parametrize("packing", PACK)


def read(*sources: str | int) -> list[bytes | None]:
    inputs = Inputs(sources)
    return [line for _, lines in Lines(inputs, Interrupts(), batch=2, limit=100) for line in lines]


def written(folder: Path, **files: bytes) -> list[str]:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def test_inputs_come_in_order_and_a_missing_last_line_end_joins_no_lines(tmp_path: Path) -> None:
    names = written(tmp_path, a=b"1\n2", b=b"", c=b"\n3\n", d=b"\xef\xbb\xbf4\n\xef\xbb\xbf5")
    assert read(*names) == [b"1", b"2", b"", b"3", b"4", b"\xef\xbb\xbf5"]


@every_packing
def test_each_input_is_unpacked_as_its_own_first_bytes_say(tmp_path: Path, packing: str) -> None:
    names = written(tmp_path, a=b"1\n", b=PACK[packing](b"2\n" * 9), c=PACK["gzip"](b"3\n"), d=b"4\n")
    assert read(*names) == [b"1", *[b"2"] * 9, b"3", b"4"]


@every_packing
def test_a_pipe_may_give_its_bytes_one_by_one(packing: str) -> None:
    reader, writer = os.pipe()

    def trickle() -> None:
        for byte in PACK[packing](b'["a"]\n{}\n'):
            os.write(writer, bytes([byte]))
        os.close(writer)

    thread = threading.Thread(target=trickle)
    thread.start()
    assert read(reader) == [b'["a"]', b"{}"]
    thread.join()
    os.close(reader)


@every_packing
def test_an_error_names_the_file_and_the_line_in_it(tmp_path: Path, packing: str) -> None:
    names = written(tmp_path, a=PACK[packing](b"1\n2"), b=b"", c=b"3\n\n5\n")
    inputs = Inputs(names)
    assert sum(len(lines) for _, lines in Lines(inputs, Interrupts(), batch=3, limit=100)) == 5

    def located(line: int) -> tuple[object, object]:
        error = EsctlError("wrong", line=line, byte=7)
        inputs.locate(error)
        assert error.details["byte"] == 7
        return Path(str(error.details["file"])).name, error.details["line"]

    assert [located(line) for line in range(1, 6)] == [("a", 1), ("a", 2), ("c", 1), ("c", 2), ("c", 3)]


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut off", "altered"])
def test_a_damaged_file_is_named_with_a_command_that_tests_it(tmp_path: Path, packing: str, damage: str) -> None:
    packed = PACK[packing](b'{"n": 1}\n' * 50)
    data = packed[:-9] if damage == "cut off" else packed[:12] + b"\xff\xff\xff" + packed[15:]
    (name,) = written(tmp_path, a=data)
    with pytest.raises(RefusedError) as refused:
        read(name)
    assert refused.value.what == f"cannot decompress {name}"
    assert packing in refused.value.why
    assert refused.value.fix == f"{packing} -t {name}"


def test_a_file_that_cannot_be_read_is_refused_before_any_line_is_read(tmp_path: Path) -> None:
    names = written(tmp_path, a=b"1\n")
    for missing in (tmp_path / "missing", tmp_path):
        with pytest.raises(NotFoundError, match="cannot read"):
            Inputs([*names, str(missing)])


# As users meet them


LINES = b'{"stream":"s","type":"T","id":"1"}\n{"stream":"s","type":"T","id":"2"}\n'


@every_packing
@pytest.mark.parametrize("how", ["stdin", "file", "dash"])
def test_gzip_and_zstd_are_appended_as_plain_lines_are(run: Esctl, tmp_path: Path, packing: str, how: str) -> None:
    packed = PACK[packing](LINES)
    (tmp_path / "in").write_bytes(packed)
    words = {"stdin": [], "file": ["in"], "dash": ["-"]}[how]
    done = run("append", *words, input=b"" if how == "file" else packed)
    assert json.loads(succeeded(done))["appended"] == 2


PRETTY = b'{\n  "stream": "s",\n  "type": "T"\n}\n'
ARRAY = b' \n\r\n[{"stream":"s","type":"T"}]\n'
PAGE = b'[\n  {"stream":"s","type":"T"}\n]\n'
UTF16 = LINES.decode().encode("utf-16")


@pytest.mark.parametrize(
    ("content", "command"),
    [
        (PRETTY, "jq -c . F"),
        (ARRAY, "jq -c '.[]' F"),
        (PAGE, "jq -c '.[]' F"),
        (UTF16, "iconv -f UTF-16 -t UTF-8 F"),
        (gzip.compress(PAGE, mtime=0), "gzip -dc F | jq -c '.[]'"),
        (PACK["zstd"](PRETTY), "zstd -dc F | jq -c ."),
    ],
)
@pytest.mark.parametrize("how", ["file", "stdin", "second"])
def test_input_of_another_format_is_refused_with_a_command_that_works(
    run: Esctl, tmp_path: Path, content: bytes, command: str, how: str
) -> None:
    (tmp_path / "F").write_bytes(content)
    (tmp_path / "one.ndjson").write_bytes(LINES)
    arguments = {"file": ["F"], "stdin": [], "second": ["one.ndjson", "F"]}[how]
    done = run("append", *arguments, "--stream", "other", "--atomic", input=content if how == "stdin" else b"")
    rest = {"file": "", "stdin": "", "second": " one.ndjson -"}[how]
    read = command.replace(" F", "") if how == "stdin" else command
    assert done.returncode == 5
    assert json.loads(done.stdout)["appended"] == 0
    fix = done.stderr.splitlines()[-1].removeprefix("fix: ")
    assert fix == f"{read} | esctl append{rest} --stream other --atomic"
    shell = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {'cat F | ' if how == 'stdin' else ''}{fix}".replace("esctl", "cat #")],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    lines = (LINES if how == "second" else b"") + shell.stdout
    assert json.loads(succeeded(run("append", input=lines)))["appended"] >= 1


def test_the_fix_names_a_file_that_the_shell_opened(tmp_path: Path, log_path: Path) -> None:
    (tmp_path / "a page.json").write_bytes(PAGE)
    done = subprocess.run(
        ["bash", "-c", f"{ESCTL} append < 'a page.json'"],
        cwd=tmp_path,
        env=environment(ESCTL_LOG=str(log_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "fix: jq -c '.[]' 'a page.json' | esctl append" in done.stderr.splitlines()


def test_csv_is_refused_with_the_recipe_for_it(run: Esctl) -> None:
    done = run("append", input="stream,type\ns,T\n")
    assert done.returncode == 5
    assert "fix: esctl help cookbook" in done.stderr


def test_an_array_larger_than_an_event_may_be_is_still_an_array(run: Esctl) -> None:
    done = run("append", input=ARRAY * 9, env={"ESCTL_MAX_EVENT": "20"})
    assert "jq -c '.[]'" in done.stderr


def seen(run: Esctl, *arguments: str) -> list[Any]:
    return [(e["stream"], e["type"]) for e in map(json.loads, succeeded(run("replay", *arguments)).splitlines())]


def test_a_segment_and_a_whole_replay_are_appended_without_the_log_s_own_events(
    run: Esctl, esctl: Esctl, tmp_path: Path
) -> None:
    succeeded(run("append", input=LINES))
    succeeded(run("mark", "here"))
    succeeded(run("append", "s", "Third"))
    replayed = succeeded(run("replay", "--system"))
    succeeded(run("archive", "create", "-q", "--keep-last", "0", "--to", "cold", "--yes"))
    (segment,) = (tmp_path / "cold").glob("*.zst")
    succeeded(esctl("init", "--log", "a.db"))
    succeeded(esctl("init", "--log", "b.db"))
    refused = esctl("append", "--log", "a.db", str(segment))
    assert refused.returncode == 5
    assert f"fix: esctl append --log a.db {segment} --skip-system" in refused.stderr
    for log, arguments, input_ in (("a.db", [str(segment)], ""), ("b.db", [], replayed)):
        done = esctl("append", "--log", log, "--skip-system", *arguments, input=input_)
        assert (done.returncode, json.loads(done.stdout)["appended"]) == (0, 3)
        assert "passed over 1 event in streams that begin with $" in done.stderr
        assert esctl("append", "--log", log, "--skip-system", "-q", *arguments, input=input_).stderr == ""
        assert seen(esctl, "--log", log) == [("s", "T"), ("s", "T"), ("s", "Third")]
