"""`esctl version`: the version of esctl and the storage version of its logs."""

from __future__ import annotations

from esctl import __version__
from esctl.output import console, render
from esctl.store.format import STORAGE_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  esctl version                            same as esctl --version and esctl -V
  esctl version -o json | jq .storage_version"""


def command(shared: Shared) -> None:
    """Print the version of esctl, and the storage version of its logs."""
    if shared.format in ("auto", "raw", "table"):
        console.text(text())
    else:
        render.one({"version": __version__, "storage_version": STORAGE_VERSION}, shared.format)


def text() -> str:
    """Both versions on one line."""
    return f"esctl {__version__} (storage version {STORAGE_VERSION})\n"
