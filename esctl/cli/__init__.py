"""The command line: one file per command, named as the user types it."""
