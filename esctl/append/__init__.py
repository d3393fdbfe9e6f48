"""How events get into a log."""
