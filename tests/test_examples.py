"""The examples of every command's help do what they say, on the sample shop."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from itertools import groupby, takewhile
from pathlib import Path

import pytest

from esctl.cli import parse, sample_shop, signatures
from esctl.cli.table import COMMANDS
from tests import fixes
from tests.transcripts import environment

FOLD = "def count(state, event):\n    return {'events': (state or {}).get('events', 0) + 1}\n"
MAIL = (
    "esctl react mail --shell --exec 'test $ESCTL_STREAM != order-1042 || exit 65' --type OrderPlaced --from beginning"
    " -q 2> /dev/null"
)
BEFORE = {
    "archive": "esctl archive create --before '#101' --segment-events 100 --yes -q",
    "archive create": "true",
    "archive list": "true",
    "archive move": "esctl archive create --before '#101' --segment-events 100 --yes -q --to segments",
    "projection rollback": "esctl projection rebuild customer_orders -q",
    "snapshot": "esctl snapshot take order-1012 -q",
    "fork": "esctl mark before-import -q",
    "restore": "esctl backup backup.db -q && cp backup.db damaged.db",
    "reaction": "esctl react mail --exec true --type OrderPlaced --from now -q",
    "dead-letter": MAIL,
    "batch": "printf 'append s T a=1\\nhead\\n' > commands.txt",
}
"""What has to be there for the examples of a command, or of a group."""
ANSWERS = (0, 10)  # done; a difference is an answer, too
ENDLESS = "--follow"


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `esctl demo` makes, with what examples name beside it; it is copied, never used."""
    folder = tmp_path_factory.mktemp("examples") / "shop"
    sample_shop.make(str(folder))
    (folder / "app.log").write_text('{"level":"info"}\n{"level":"error"}\n')
    (folder / "fold.py").write_text(FOLD)
    (folder / "new.toml").write_bytes((folder / "shop.toml").read_bytes())
    subprocess.run("esctl head > head.txt", shell=True, cwd=folder, env=environment(), check=True)
    return folder


def examples(verb: str) -> Iterator[str]:
    """The commands of a command's examples; what stands behind two blanks says what they do."""
    title, *lines = signatures.module_of(verb).EXAMPLES.splitlines()
    assert title == "Examples:"
    for line in lines:
        assert line.startswith("  ")
        yield re.split(" {2,}", line.strip(), maxsplit=1)[0]


def commands_in(line: str) -> Iterator[list[str]]:
    """The words of each esctl command in a line for the shell."""
    words = shlex.shlex(line, posix=True, punctuation_chars=True)
    words.whitespace_split = True
    for between, group in groupby(words, lambda word: word in ("|", "&&", ";", "<(", ")")):
        command, *arguments = takewhile(lambda word: word not in ("<", ">"), group)
        if not between and command == "esctl":
            yield arguments


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_example_of_a_commands_help_is_well_formed(verb: str) -> None:
    lines = [parse.read(words) for example in examples(verb) for words in commands_in(example)]
    assert verb in {line.verb for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("verb", COMMANDS)
def test_every_example_of_a_commands_help_works(verb: str, shop: Path, tmp_path: Path) -> None:
    if not (shutil.which("jq") and shutil.which("zstd")):
        pytest.skip("jq and zstd are not installed")
    folder = tmp_path / "shop"
    shutil.copytree(shop, folder)
    if before := BEFORE.get(verb, BEFORE.get(verb.partition(" ")[0])):
        subprocess.run(["bash", "-c", before], cwd=folder, env=environment(), check=True)
    ran = 0
    for command in examples(verb):
        works(command, folder)
        ran += 1
    assert ran


def works(command: str, folder: Path) -> None:
    """Run an example; one that goes on for ever is interrupted, and was right until then."""
    with subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=1 if ENDLESS in command else 60)
        except subprocess.TimeoutExpired:
            assert ENDLESS in command
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            assert "error:" not in err, err
            return
    assert process.returncode in ANSWERS, f"$ {command}\n{out}{err}"
    assert "error:" not in err
    fixes.check(err)


def test_an_example_that_fails_is_noticed(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    with pytest.raises(AssertionError):
        works("esctl replay nothing", tmp_path / "shop")
    with pytest.raises(AssertionError):
        works("esctl head | jq .freed", tmp_path / "shop")
