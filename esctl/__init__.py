"""An event store in one SQLite file, driven from the shell; from Python: `from esctl import open_log`."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from esctl.api import Event, Json, Log, Receipt, open_log

__version__ = "0.2.0"
__all__ = ["Event", "Json", "Log", "Receipt", "__version__", "open_log"]


def __getattr__(name: str) -> object:
    """Load the API on first use: commands start without it."""
    if name in __all__:
        from esctl import api  # noqa: PLC0415

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
