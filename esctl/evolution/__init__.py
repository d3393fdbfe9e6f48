"""A new model against stored events: planned, checked, rewritten."""
