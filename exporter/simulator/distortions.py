"""Faults inside of an answer that claims success."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from exporter.simulator.answers import Envelope
from exporter.simulator.faults import Fault

_SPOKEN: Final = (b'"role":"assistant","content":"', b'"role":"agent","content":"')


def _each(envelope: Envelope, change: Callable[[bytes], bytes]) -> Envelope:
    return msgspec.structs.replace(envelope, items=tuple(change(item) for item in envelope.items))


def _spoil(raw: bytes) -> Callable[[bytes], bytes]:
    """Put raw bytes into what the agent says first, and where it says nothing, into a field of its own."""

    def spoil(item: bytes) -> bytes:
        for opening in _SPOKEN:
            if opening in item:
                return item.replace(opening, opening + raw, 1)
        return item[:-1] + b',"remarks":"' + raw + b'"}'

    return spoil


def _keep(envelope: Envelope, kept: list[int]) -> Envelope:
    return msgspec.structs.replace(
        envelope,
        items=tuple(envelope.items[place] for place in kept),
        ids=tuple(envelope.ids[place] for place in kept if envelope.ids),
    )


def _duplicate(envelope: Envelope, fault: Fault) -> Envelope:
    del fault
    places = list(range(len(envelope.items)))
    return _keep(envelope, [*places[:-1], places[0]] if places else places)


def _miss(envelope: Envelope, fault: Fault) -> Envelope:
    return _keep(envelope, list(range(len(envelope.items)))[fault.by :])


def _halve(envelope: Envelope, fault: Fault) -> Envelope:
    del fault
    return _keep(envelope, list(range(len(envelope.items) // 2)))


def _not_object(envelope: Envelope, fault: Fault) -> Envelope:
    if not envelope.items:
        return envelope
    item = b"null" if fault.item is None else msgspec.json.encode(fault.item)
    return msgspec.structs.replace(envelope, items=(item, *envelope.items[1:]), ids=envelope.ids[1:])


def _miscount(envelope: Envelope, fault: Fault) -> Envelope:
    return msgspec.structs.replace(envelope, count=max((envelope.count or 0) + fault.by, 0))


def _uncounted(envelope: Envelope, fault: Fault) -> Envelope:
    return envelope if fault.count else msgspec.structs.replace(envelope, count=None)


ENVELOPES: Final[Mapping[str, Callable[[Envelope, Fault], Envelope]]] = {
    "nan": lambda envelope, fault: _each(envelope, lambda item: item[:-1] + b',"score":NaN}'),
    "control_characters": lambda envelope, fault: _each(envelope, _spoil(b"\x01 raw\ttab \n")),
    "lone_surrogate": lambda envelope, fault: _each(envelope, _spoil(b"\\ud83d ")),
    "bad_utf8": lambda envelope, fault: _each(envelope, _spoil(b"\xff\xfe ")),
    "duplicate_tasks": _duplicate,
    "missing_tasks": _miss,
    "short_page": _halve,
    "item_not_object": _not_object,
    "wrong_count": _miscount,
    "ignore_paging": _uncounted,
    "status_in_body": lambda envelope, fault: msgspec.structs.replace(envelope, status_code=500),
}
"""Faults that change what is answered."""

BODIES: Final[Mapping[str, Callable[[Envelope], bytes]]] = {
    "data_is_object": lambda envelope: envelope.head() + b"{}}",
    "wrong_json": lambda envelope: envelope.body().replace(b'"data":', b"'data':", 1),
}
"""Faults that change how it is written."""

STILL_DATA: Final = frozenset(
    (
        "nan",
        "control_characters",
        "lone_surrogate",
        "bad_utf8",
        "duplicate_tasks",
        "item_not_object",
        "ignore_paging",
        "slow_drip",
    )
)
"""Faults after which the tasks in the answer can and should still be read."""
