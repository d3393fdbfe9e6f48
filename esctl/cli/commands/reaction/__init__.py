"""Reactions: how far each has come; pause, reset or drop one."""

COMMANDS = ("list", "status", "pause", "resume", "reset", "drop")
