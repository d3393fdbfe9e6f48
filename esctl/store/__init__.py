"""One SQLite file: events, and all that is kept of them."""
