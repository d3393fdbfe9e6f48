"""Read models: brought up to date, rebuilt, read, compared."""
