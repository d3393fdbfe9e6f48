"""The log's model: schemas, upcasts, aggregates, rules, projections."""

COMMANDS = ("check", "plan", "apply", "show", "history")
