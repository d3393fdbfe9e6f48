"""Read models as tables, kept up to date by events."""

COMMANDS = ("list", "status", "show", "run", "rebuild", "rollback", "diff", "verify", "drop")
