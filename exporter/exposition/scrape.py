"""One answer to one scrape: the format and the encoding that it asked for, and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from exporter.exposition import packing
from exporter.exposition.lines import Format, encode
from exporter.exposition.negotiation import choose, wants_gzip
from exporter.exposition.packing import Packed
from exporter.exposition.render import Board, UnknownAgentError, Version
from exporter.exposition.telemetry import Telemetry

Pack = Callable[[bytes], Packed]


class Answer(msgspec.Struct, frozen=True):
    """The body of an answer, and what its headers say about it."""

    body: bytes
    content_type: str
    content_encoding: str | None = None
    status: int = 200


class _Kept(msgspec.Struct, frozen=True):
    """What the board showed in one version, packed or about to be."""

    version: Version
    packed: asyncio.Future[Packed]

    @property
    def is_lost(self) -> bool:
        """Whether it could not be packed, for want of memory."""
        return self.packed.done() and (self.packed.cancelled() or self.packed.exception() is not None)


class Scrape:
    """Answers scrapes from the board and the exporter's own metrics.

    What the board shows is packed once for all scrapes that find it unchanged, those that come meanwhile included. It
    is packed in a thread, so that a large board holds up neither polls nor other answers. What the exporter tells of
    itself is new each time.

    Args:
        clock: Unix seconds, for what is fresh.
        timer: monotonic seconds, for how long it took.
    """

    def __init__(
        self,
        board: Board,
        telemetry: Telemetry,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
        pack: Pack = packing.pack,
    ) -> None:
        self._board = board
        self._telemetry = telemetry
        self._clock = clock
        self._timer = timer
        self._pack = pack
        self._packer = ThreadPoolExecutor(1, thread_name_prefix="pack")
        self._kept: dict[Format, _Kept] = {}

    async def __call__(self, accept: str | None, accept_encoding: str | None, agents: Sequence[str] = ()) -> Answer:
        """The metrics, as the request headers ask for them; 404 if one of ``agents`` has published nothing."""
        begin = self._timer()
        form = choose(accept)
        packed = wants_gzip(accept_encoding)
        try:
            body = await self._packed(form, agents) if packed else self.text(form, agents)
        except UnknownAgentError as error:
            return Answer(encode(f"{error}\n"), "text/plain; charset=utf-8", status=404)
        self._telemetry.rendered(self._timer() - begin)
        return Answer(body, form.content_type, "gzip" if packed else None)

    def text(self, form: Format, agents: Sequence[str] = ()) -> bytes:
        """The metrics in this format; of some agents alone, without those of the exporter.

        Raises:
            UnknownAgentError: one of ``agents`` has published nothing.
        """
        about_agents = self._board.render(form, self._clock(), agents)
        return b"".join((about_agents, self._rest(form, agents)))

    async def _packed(self, form: Format, agents: Sequence[str]) -> bytes:
        if agents:
            beginning = await self._begun(self._board.selected(form, self._clock(), agents))
        else:
            beginning = await self._kept_beginning(form)
        return packing.gzip(beginning, self._rest(form, agents))

    async def _kept_beginning(self, form: Format) -> Packed:
        version, pieces = self._board.everything(form, self._clock())
        kept = self._kept.get(form)
        if kept is None or kept.version != version or kept.is_lost:
            kept = self._kept[form] = _Kept(version, self._begun(pieces))
        # One who goes away must not take what the others wait for with him.
        return await asyncio.shield(kept.packed)

    def _begun(self, pieces: Iterable[bytes]) -> asyncio.Future[Packed]:
        return asyncio.get_running_loop().run_in_executor(self._packer, self._pack, b"".join(pieces))

    def _rest(self, form: Format, agents: Sequence[str]) -> bytes:
        """What follows the agents' numbers, and the end."""
        about_itself = b"" if agents else self._telemetry.render(form)
        return about_itself + form.end
