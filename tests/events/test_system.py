"""The log's own events name who did what."""

from __future__ import annotations

import json

import pytest

from esctl.events import system


def test_the_actor_is_who_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "zoe")
    monkeypatch.setenv("LOGNAME", "adam")
    assert system.actor() == "zoe"
    monkeypatch.delenv("USER")
    assert system.actor() == "adam"
    monkeypatch.delenv("LOGNAME")
    assert system.actor().startswith("uid ")


def test_meta_names_the_actor_whatever_his_name_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", 'zoë "z"\n')
    assert json.loads(system.meta()) == {"actor": 'zoë "z"\n'}
