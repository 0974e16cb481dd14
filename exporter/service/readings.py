"""What became of the last reading of each file: for people, and as one metric that is bad as long as one of them is."""

from __future__ import annotations

from collections.abc import Callable

from exporter.exposition.telemetry import Telemetry
from exporter.web.pages import BadFile, Certificate


class Readings:
    """Tells the metrics of reloads, and remembers what is wrong."""

    def __init__(self, telemetry: Telemetry, now: Callable[[], float]) -> None:
        self._telemetry = telemetry
        self._now = now
        self._bad: dict[str, BadFile] = {}
        self.certificate: Callable[[], Certificate | None] = lambda: None
        """That of the web config in force."""
        telemetry.certificate(self._certificate_ends)

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """The files that were bad when they were last read."""
        return tuple(self._bad.values())

    def of(self, file: str) -> Callable[[str], None]:
        """What is told of each reading of this file: what is wrong with it, or nothing where it is good."""

        def read(problem: str) -> None:
            now, before = self._now(), self._bad.pop(file, None)
            if problem:
                self._bad[file] = BadFile(file=file, problem=problem, since=before.since if before else now)
            self._telemetry.config_loaded(not self._bad, now)

        return read

    def _certificate_ends(self) -> float | None:
        certificate = self.certificate()
        return None if certificate is None else certificate.ends
