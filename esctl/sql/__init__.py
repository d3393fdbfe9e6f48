"""SQL that comes from outside: what it may do."""
