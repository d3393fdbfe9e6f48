"""The event and its formats (NDJSON lines, JSON, CloudEvents), the hash chain, times and queries."""
