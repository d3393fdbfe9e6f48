"""What the log knows of its domain: schemas, rules, projections."""

COMMANDS = ("check", "plan", "apply", "show", "history")
