"""What a domain declares: event types, aggregates, projections."""
