"""Dead letters: events that a reaction gave up for now."""

COMMANDS = ("list", "show", "retry", "drop")
