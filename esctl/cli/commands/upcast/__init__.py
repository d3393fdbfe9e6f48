"""Old event schemas: checked, shown, or rewritten into a new log."""

COMMANDS = ("check", "show", "rewrite")
