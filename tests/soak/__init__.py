"""Hours of traffic, polled minute by minute by a real process, with faults, kills and restarts on the way."""
