"""`esctl model show`: a model that was applied."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands.model.conftest import MODEL, Model
from tests.conftest import ESCTL, Esctl


def test_a_model_is_shown_as_it_was_written(run: Esctl, model: Model) -> None:
    texts = [MODEL, f"{MODEL}# zweite, mit Ümläuten\n", MODEL.replace("\n", "\r\n")]
    for text in texts:
        Path(run("model", "apply", model(text)).args[0])
    shown = [run("model", "show", str(number)).stdout for number in (1, 2)]
    assert shown == texts[:2]
    assert run("model", "show").stdout.splitlines() == texts[2].splitlines()


@pytest.mark.parametrize("number", [[], ["1"], ["0"], ["99"]])
def test_a_model_that_was_never_applied_is_not_there(run: Esctl, number: list[str]) -> None:
    done = run("model", "show", *number, "--error-format", "json")
    assert (done.returncode, done.stdout) == (3, "")
    assert json.loads(done.stderr)["error"] == "not-found"


@pytest.mark.parametrize("verb", [["plan", "model.toml"], ["history"], ["show"]])
def test_a_pipe_that_closes_ends_it_in_silence(run: Esctl, model: Model, log_path: Path, verb: list[str]) -> None:
    run("model", "apply", model(MODEL + "# a comment, of some length\n" * 2_000))
    model("".join(f"[event.T{n}]\nschema = 1\n" for n in range(300)))
    environment = {**os.environ, "ESCTL_LOG": str(log_path), "ESCTL_FORMAT": "ndjson"}
    with subprocess.Popen(
        [ESCTL, "model", *verb], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=log_path.parent
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode in (0, -13), said) == (True, b"")


def test_a_model_is_a_record_if_that_is_asked_for(run: Esctl, model: Model) -> None:
    run("model", "apply", model(MODEL))
    shown = json.loads(run("model", "show", "-o", "json").stdout)
    assert (shown["number"], shown["text"]) == (1, MODEL)
