"""Everything that is printed: tables, NDJSON, CSV, errors, progress."""
