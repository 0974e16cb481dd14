"""One answer to one scrape: the format and the encoding that it asked for, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from exporter.exposition import packing
from exporter.exposition.lines import Format, encode
from exporter.exposition.negotiation import choose, wants_gzip
from exporter.exposition.render import Board, UnknownAgentError
from exporter.exposition.telemetry import Telemetry


class Answer(msgspec.Struct, frozen=True):
    """The body of an answer, and what its headers say about it."""

    body: bytes
    content_type: str
    content_encoding: str | None = None
    status: int = 200


class Scrape:
    """Answers scrapes from the board and the exporter's own metrics.

    Args:
        clock: Unix seconds, for what is fresh.
        timer: monotonic seconds, for how long it took.
        may_show: whether what agents have published may be shown now; until then it is kept.
    """

    def __init__(
        self,
        board: Board,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        may_show: Callable[[], bool] = lambda: True,
    ) -> None:
        self._board = board
        self._telemetry = telemetry
        self._clock = clock
        self._timer = timer
        self._may_show = may_show

    def __call__(self, accept: str | None, accept_encoding: str | None, agents: Sequence[str] = ()) -> Answer:
        """The metrics, as the request headers ask for them; 404 if one of ``agents`` has published nothing."""
        begin = self._timer()
        form = choose(accept)
        packed = wants_gzip(accept_encoding)
        try:
            body = self._packed(form, agents) if packed else self.text(form, agents)
        except UnknownAgentError as error:
            return Answer(encode(f"{error}\n"), "text/plain; charset=utf-8", status=404)
        self._telemetry.rendered(self._timer() - begin)
        return Answer(body, form.content_type, "gzip" if packed else None)

    def text(self, form: Format, agents: Sequence[str] = ()) -> bytes:
        """The metrics in this format; of some agents alone, without those of the exporter.

        Raises:
            UnknownAgentError: one of ``agents`` has published nothing.
        """
        about_agents = (
            self._board.render(form, self._clock(), agents) if self._may_show() else self._without(form, agents)
        )
        about_itself = b"" if agents else self._telemetry.render(form)
        return b"".join((about_agents, about_itself, form.end))

    def _without(self, form: Format, agents: Sequence[str]) -> bytes:
        return b"" if agents else self._board.sums(form)

    def _packed(self, form: Format, agents: Sequence[str]) -> bytes:
        """The same, packed; what agents show only where it changed since it was packed last."""
        if agents:
            return packing.gzip((), self.text(form, agents))
        if not self._may_show():
            return packing.gzip((), self.text(form))
        about_agents, sums = self._board.packed(form, self._clock())
        return packing.gzip(about_agents, b"".join((sums, self._telemetry.render(form), form.end)))
