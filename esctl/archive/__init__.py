"""Old events, compressed into segments: made, listed, checked, moved, brought back."""
