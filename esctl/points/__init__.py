"""Places in a log, by name, by time, by cause."""
