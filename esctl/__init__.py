"""An event store in one SQLite file, driven from the shell."""

__version__ = "0.1.0"
