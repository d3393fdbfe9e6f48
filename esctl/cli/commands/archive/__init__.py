"""Compress old events into segments; every command still reads them."""

COMMANDS = ("create", "list", "verify", "restore", "export", "move")
