"""Run a command for each event: in order, at least once, with retries, and with dead letters for what fails."""
