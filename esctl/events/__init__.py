"""What an event is, and the forms that it comes in."""
