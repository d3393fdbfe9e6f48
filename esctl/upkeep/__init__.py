"""A log checked, copied, and rid of what has to go."""
