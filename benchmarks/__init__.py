"""What the exporter costs, measured side by side: ``python -m benchmarks``."""
