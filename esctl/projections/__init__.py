"""Read models: brought up to date, built anew, read, compared."""
