"""Code that runs as a user for whom file permissions count: root may read and write everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_BECOME_NOBODY = """
import os, sys
from pathlib import Path

path = Path(sys.argv[1])
if os.geteuid() == 0:
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit(77)
"""


def unprivileged(path: Path, imports: str, code: str) -> str:
    """What code prints that runs so, with `path` under that name. Imports come first: that user may not read us."""
    command = [sys.executable, "-c", imports + _BECOME_NOBODY + code, str(path)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode == 77:
        pytest.skip("root cannot become another user here")
    assert done.returncode == 0
    return done.stdout
