"""What people and pipes see: tables, NDJSON, CSV, errors, progress."""
