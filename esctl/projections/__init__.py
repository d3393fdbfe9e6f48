"""Read models, kept up to date."""
