"""Knows what has been seen and counted; knows nothing of HTTP servers or text formats."""
