"""Compress old events; they are read as if they were there."""

COMMANDS = ("create", "list", "verify", "restore", "export", "move")
