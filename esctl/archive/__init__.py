"""Compress old events into segments; list, check, move, export and restore segments."""
