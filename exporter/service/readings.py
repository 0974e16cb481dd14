"""What became of the last reading of each file, as one metric: it is bad as long as one of them is."""

from __future__ import annotations

from collections.abc import Callable

from exporter.exposition.telemetry import Telemetry


class Readings:
    """Tells the metrics of reloads."""

    def __init__(self, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._now = now
        self._bad: set[str] = set()

    def of(self, file: str) -> Callable[[bool], None]:
        """What is told whether this file has been read well."""

        def read(ok: bool) -> None:
            (self._bad.discard if ok else self._bad.add)(file)
            self._telemetry.config_loaded(not self._bad, self._now())

        return read
