"""What an event is, and the forms that it comes in: lines, JSON, CloudEvents; the hash chain, times, queries."""
