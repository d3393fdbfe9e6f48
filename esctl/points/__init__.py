"""Places in a log: marks, points in time, causes and effects."""
