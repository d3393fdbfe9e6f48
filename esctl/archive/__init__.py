"""Old events, compressed."""
