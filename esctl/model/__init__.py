"""The model of a domain (event types, upcasts, aggregates, projections): read from TOML and compiled to SQL."""
