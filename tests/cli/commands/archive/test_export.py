"""`esctl archive export`: a segment as the file that it is."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import zstandard  # noqa: TID253 - what any reader of segments would use

from tests.cli.commands.archive.conftest import created
from tests.conftest import Esctl, succeeded


def test_an_export_is_what_zstd_reads_and_the_log_printed(run: Esctl, tmp_path: Path) -> None:
    before = succeeded(run("replay", "--raw-schema", "--system", "--until", "#40"))
    (made,) = created(run)
    told = json.loads(succeeded(run("archive", "export", "1-40", "out.ndjson.zst")))
    raw = (tmp_path / "out.ndjson.zst").read_bytes()
    assert told == {"segment": "1-40", "file": "out.ndjson.zst", "bytes": len(raw)}
    assert hashlib.sha256(raw).hexdigest() == made["sha256"]
    reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
    assert reader.read().decode() == before
    end = int.from_bytes(raw[-8:-4], "little")
    assert raw[-end:][:4] == b"\x5e\x2a\x4d\x18"
    assert json.loads(raw[-end + 8 :].partition(b"\n")[0])["last"] == 40


def test_an_export_goes_to_stdout_and_nothing_else_does(run: Esctl, tmp_path: Path) -> None:
    (made,) = created(run)
    command = [str(Path(sys.executable).with_name("esctl")), "archive", "export", "1-40", "--log", "esctl.db"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).hexdigest() == made["sha256"]


def test_an_export_overwrites_nothing(run: Esctl, tmp_path: Path) -> None:
    created(run)
    (tmp_path / "there").write_text("mine")
    assert run("archive", "export", "1-40", "there").returncode == 2
    assert (tmp_path / "there").read_text() == "mine"


def test_a_damaged_segment_is_not_exported(run: Esctl, tmp_path: Path) -> None:
    created(run, "--to", "cold")
    (file,) = (tmp_path / "cold").iterdir()
    raw = file.read_bytes()
    file.write_bytes(raw[:30] + bytes([raw[30] ^ 1]) + raw[31:])
    done = run("archive", "export", "1-40", "out")
    assert (done.returncode, done.stdout) == (6, "")
    assert not (tmp_path / "out").exists()
