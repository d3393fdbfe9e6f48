"""Save states, so that a fold need not begin at the beginning."""

COMMANDS = ("take", "list", "verify", "prune")
