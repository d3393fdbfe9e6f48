"""What people and pipes see."""
