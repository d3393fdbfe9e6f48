"""Apply a new model to a log with stored events: plan the change, check the events, rewrite the log."""
