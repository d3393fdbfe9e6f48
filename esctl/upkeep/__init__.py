"""A whole log: verified, copied, rid of what has to go."""
