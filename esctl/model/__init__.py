"""What a domain declares: types and their upcasts, aggregates, projections; a model file read and compiled to SQL."""
