"""What a stream's events add up to: states, how they came about, snapshots of them."""
