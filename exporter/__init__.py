"""Prometheus exporter for the calls and tasks of Unpod voice agents."""

__version__ = "0.1.0"
