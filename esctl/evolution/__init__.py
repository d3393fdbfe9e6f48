"""A model against stored events."""
