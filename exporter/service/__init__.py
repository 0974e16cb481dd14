"""Builds the parts and runs them: the only place that knows them all."""

from exporter.service.assembly import Clock, Exporter, all_readable, assembled, poll_once, probe_platform
from exporter.service.parts import only
from exporter.service.past import Past, PastError, write_past
from exporter.service.reloading import Source
from exporter.service.running import Web, run, stop_signals

__all__ = [
    "Clock",
    "Exporter",
    "Past",
    "PastError",
    "Source",
    "Web",
    "all_readable",
    "assembled",
    "only",
    "poll_once",
    "probe_platform",
    "run",
    "stop_signals",
    "write_past",
]
