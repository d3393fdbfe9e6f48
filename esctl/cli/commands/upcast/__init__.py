"""Upcasts of old events: check, show, rewrite into a new log."""

COMMANDS = ("check", "show", "rewrite")
