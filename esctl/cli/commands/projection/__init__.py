"""Read models: tables that are kept up to date from events."""

COMMANDS = ("list", "status", "show", "run", "rebuild", "rollback", "diff", "verify", "drop")
