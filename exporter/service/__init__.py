"""Builds the parts and runs them: the only place that knows them all."""

from exporter.service.assembly import Exporter, all_readable, assembled, poll_once, probe_platform, probe_state
from exporter.service.clock import Clock
from exporter.service.moving import export_state, import_state
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
    "export_state",
    "import_state",
    "only",
    "poll_once",
    "probe_platform",
    "probe_state",
    "run",
    "stop_signals",
    "write_past",
]
