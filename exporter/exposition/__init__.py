"""Shows the numbers to Prometheus."""
