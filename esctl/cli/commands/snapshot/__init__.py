"""Saved states, so that a fold need not start at the first event."""

COMMANDS = ("take", "list", "verify", "prune")
