"""Speaks HTTP and JSON with the Unpod platform; knows nothing of Prometheus, storage or the config file."""
