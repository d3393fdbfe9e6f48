"""Places in a log: marks (named positions), points in time, and traces of causes and effects."""
