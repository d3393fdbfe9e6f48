"""One runner at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esctl.errors import UnavailableError
from esctl.events.times import clock_text
from esctl.log import EventLog
from esctl.reactions import lease
from esctl.store.reactions import Reaction, new

HOLD = (
    "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def stored(log: EventLog) -> EventLog:
    with log.transaction():
        log.store.reactions().create([new("r", "{}", log.log_id, 0, b"")])
    return log


def test_a_lock_is_a_file_beside_the_log_for_as_long_as_it_is_held(log: EventLog) -> None:
    path = Path(f"{os.path.realpath(log.path)}-r.1.lock")
    with lease.locked(log, "r", 1, 0.0):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


def test_others_wait_and_are_told_who_has_it(log: EventLog) -> None:
    path = f"{os.path.realpath(log.path)}-r.1.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UnavailableError, match="is running") as refused, lease.locked(log, "r", 1, 0.1):
            pass
        assert f"process {process.pid} (" in refused.value.why
        process.kill()
    with lease.locked(log, "r", 1, 5.0):
        pass


def test_a_child_has_the_lock_after_its_parent_was_killed(log: EventLog) -> None:
    script = f"""
import os, subprocess, sys, time
from esctl.log import EventLog
from esctl.reactions import lease
with EventLog({log.path!r}) as log, lease.locked(log, "r", 1, 0.0):
    os.posix_spawnp("sleep", ["sleep", "3"], os.environ)
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
    began = time.monotonic()
    why = ""
    while "sleep 3" not in why and time.monotonic() < began + 2:  # the child may not be `sleep` yet
        with pytest.raises(UnavailableError) as refused, lease.locked(log, "r", 1, 0.0):
            pass
        why = refused.value.why
    assert "sleep 3" in why
    with lease.locked(log, "r", 1, 20.0):
        assert time.monotonic() - began > 0.2


def held(log: EventLog, **values: object) -> Reaction:
    (one,) = log.store.reactions().all()
    with log.transaction():
        log.store.reactions().replace(one._replace(**values))  # type: ignore[arg-type]
    return log.store.reactions().all()[0]


def test_who_takes_a_reaction_gets_a_new_token(stored: EventLog) -> None:
    tokens = {lease.take(stored, "r", 1, 0.0).token for _ in range(3)}
    assert len(tokens) == 3
    (one,) = stored.store.reactions().all()
    assert one.holder == lease.holder()
    assert lease.is_held(one, time.time())
    assert not lease.is_held(one, time.time() + lease.LEASE_SECONDS)


def test_the_lease_of_another_machine_is_waited_for(stored: EventLog) -> None:
    held(stored, token="x", holder="elsewhere 1", lease=clock_text(time.time() + 60))
    with pytest.raises(UnavailableError, match="is running") as refused:
        lease.take(stored, "r", 1, 0.0)
    assert "elsewhere 1" in refused.value.why
    held(stored, lease=clock_text(time.time() + 0.3))
    assert lease.take(stored, "r", 1, 10.0).token != "x"
