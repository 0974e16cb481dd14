"""Builds the parts and runs them: the only place that knows them all."""

from exporter.service.assembly import Clock, Exporter, all_readable, assembled, poll_once
from exporter.service.running import Web, run, stop_signals

__all__ = ["Clock", "Exporter", "Web", "all_readable", "assembled", "poll_once", "run", "stop_signals"]
