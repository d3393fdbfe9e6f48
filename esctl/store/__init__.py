"""One SQLite file: events appended and read, hot or archived; folds, projections and checks that run in it."""
