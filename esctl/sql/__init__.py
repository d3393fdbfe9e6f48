"""SQL that comes from outside: quoted, cut into tokens, and judged before it runs."""
