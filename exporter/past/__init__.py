"""The past of agents as Prometheus would have scraped it, written from the times that the platform tells."""
