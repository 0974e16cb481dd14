"""What the ledger keeps of each task, and how it lies on disk.

A record holds just enough to recognise every event once: no text, no names, and ids only as digests.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import Final

import msgspec

from exporter.unpod.facts import Call
from exporter.unpod.vocabulary import EXECUTION_TYPES, OPEN_STATUSES, STATUSES

_HASH: Final = blake2b(digest_size=8)
"""Copied for each id: to begin anew would cost as much as the rest."""
_SIGNED: Final = Struct(">q")


def digest(text: str) -> int:
    """A 64-bit name for an id: signed, as databases have it, and never 0, which means "none"."""
    hashed = _HASH.copy()
    hashed.update(text.encode("utf-8", "surrogatepass"))
    name: int = _SIGNED.unpack(hashed.digest())[0]
    return name or 1


class Seen:
    """What is already known or counted of a call, as bits. (An ``IntFlag`` would cost more than all other counting.)"""

    ENDED: Final = 1
    """It has been seen ended, by its output or by its task."""
    LEFT: Final = 2
    """Since it ended its task has waited or been retried: what comes next may be another call."""
    COUNTED: Final = 4
    CLOSED: Final = 8
    """It is history that is not to be counted, whatever is learned of it later."""
    DURATION: Final = 16
    RECORDING: Final = 32
    TRANSCRIPT: Final = 64
    OUTCOME: Final = 128
    SENTIMENT: Final = 256
    LATER: Final = 512
    """It is not the first call of its task."""
    TOLD_ID: Final = 1024
    """The output, when last seen, told its id."""
    TOLD_START: Final = 2048


class Amounts(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How much of a call's amounts has been counted, in whole units, so that sums are exact in any order."""

    cost: int = 0
    """Billionths of a dollar."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tts_characters: int = 0
    stt: int = 0
    """Billionths of a second."""
    agent_messages: int = 0
    user_messages: int = 0
    other_messages: int = 0
    latencies: int = 0
    latency: int = 0
    """Billionths of a second."""


NO_AMOUNTS: Final = Amounts()


class KnownCall(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The call that a task's ``output`` told of last."""

    id: int = 0
    """Digest of the ``call_id``; 0 where there is none."""
    start: float | None = None
    digest: int = 0
    """Digest of the output: tells whether an output without ids has changed."""
    seen: int = 0
    """Flags of ``Seen``."""
    ended: float | None = None
    """When it was first seen ended (the exporter's clock); kept until it is counted, or longer without a name."""
    held: Call | None = None
    """What it told when last seen; kept from its end until it is counted."""
    amounts: Amounts | None = None
    due: float | None = None
    """When it is counted as it is, if its record does not come (the exporter's clock); kept until it is counted."""

    @property
    def has_name(self) -> bool:
        """Whether anything recognises this call when it is no longer its task's last."""
        return bool(self.id) or self.start is not None

    @property
    def name(self) -> int:
        """What recognises this call when it is no longer its task's last; 0 where nothing does."""
        return self.id or (digest(repr(self.start)) if self.start is not None else 0)


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is known of one task. Times are Unix seconds."""

    status: str
    execution_type: str
    retry_attempt: int = 0
    failure_count: int = 0
    created: float | None = None
    scheduled: float | None = None
    """``scheduled_timestamp`` as last shown; kept while the task is open or its first start is not known."""
    changed: float | None = None
    """``last_status_change`` as last shown: tells whether the next change has moved it."""
    entered: float | None = None
    """Since when it has its status, as far as known; kept while the task is open."""
    run: int = 0
    """Digest of ``run_id``; kept while the task is open."""
    odd: int = 0
    """Which of ``vocabulary.FIELDS`` have ever had a value that fits nothing known, as a bit mask."""
    started: bool = False
    """The start of the first call is known, or will never be."""
    call: KnownCall | None = None
    past: tuple[int, ...] = ()
    """Names of earlier calls of the same task."""
    settles: float | None = None
    """Until when a task that is not open is watched: it has changed lately, or waits for its call's record."""
    place: int | None = None
    """How many tasks were older when it was last seen; kept while it is watched. Tasks are only ever added on top, so
    unlike its distance from the top this does not change."""

    @property
    def open(self) -> bool:
        """Whether the task still waits or runs."""
        return self.status in OPEN_STATUSES

    @property
    def watched(self) -> bool:
        """Whether every poll looks at the task: it is open, or not settled yet."""
        return self.settles is not None or self.status in OPEN_STATUSES


class _Packed(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A ``Record`` as it lies on disk: words as positions, what is rarely set last.

    ``created`` is not among it: storage keeps it in a column of its own.
    """

    status: int
    execution_type: int
    retry_attempt: int
    call: KnownCall | None = None
    started: bool = False
    failure_count: int = 0
    odd: int = 0
    past: tuple[int, ...] = ()
    scheduled: float | None = None
    changed: float | None = None
    entered: float | None = None
    run: int = 0
    settles: float | None = None
    place: int | None = None


_STATUS_CODES: Final = {word: code for code, word in enumerate(STATUSES)}
_EXECUTION_TYPE_CODES: Final = {word: code for code, word in enumerate(EXECUTION_TYPES)}
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_Packed)


def pack(record: Record) -> bytes:
    """The bytes of a record, without ``created``."""
    return _encoder.encode(
        _Packed(
            _STATUS_CODES[record.status],
            _EXECUTION_TYPE_CODES[record.execution_type],
            record.retry_attempt,
            record.call,
            record.started,
            record.failure_count,
            record.odd,
            record.past,
            record.scheduled,
            record.changed,
            record.entered,
            record.run,
            record.settles,
            record.place,
        )
    )


def unpack(packed: bytes, created: float | None) -> Record:
    """The record of some bytes and the time beside them. Raises ``msgspec.DecodeError`` where they are none."""
    row = _decoder.decode(packed)
    return Record(
        status=STATUSES[row.status],
        execution_type=EXECUTION_TYPES[row.execution_type],
        retry_attempt=row.retry_attempt,
        failure_count=row.failure_count,
        created=created,
        scheduled=row.scheduled,
        changed=row.changed,
        entered=row.entered,
        run=row.run,
        odd=row.odd,
        started=row.started,
        call=row.call,
        past=row.past,
        settles=row.settles,
        place=row.place,
    )
