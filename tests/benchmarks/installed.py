"""A plain installation of esctl, as its users have it.

Where esctl is developed, Python loads more at every start than it does for them: the finder of an editable install,
coverage. In one such environment that was 22 of the 34 ms of `python -I -c pass`; esctl needs much of the same modules,
so cold commands looked twice as fast as they are.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import esctl


def plainly(folder: Path) -> Path:
    """Make a virtual environment of links to what is installed here, without .pth files; its `bin`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    packages: dict[str, Path] = {}
    for key in ("purelib", "platlib"):
        packages |= {path.name: path for path in Path(sysconfig.get_path(key)).iterdir() if path.suffix != ".pth"}
    packages["esctl"] = Path(esctl.__file__).parent  # an editable install leaves a folder of this name without its code
    for name, path in packages.items():
        (site / name).symlink_to(path)
    programs = folder / "bin"
    _, script = Path(sys.executable).with_name("esctl").read_text(encoding="utf-8").split("\n", 1)
    (programs / "esctl").write_text(f"#!{programs / 'python'}\n{script}", encoding="utf-8")
    (programs / "esctl").chmod(0o755)
    return programs
