"""One task as it is shown now, against what is known of it -> changes, each exactly once.

The platform shows states, not events: ``observe`` finds the events between two looks at a task. Read again, a task
that has not changed yields nothing, so the same page twice, pages that shift, and a poll that is repeated count
nothing twice.

**Which call is it?** ``identity`` tells.

**When is it counted?** When its record is final: it has ended and is enriched with an end time or a duration; or it has
ended and stayed a stub for the settling time; or another call has taken its place. What is learned later is counted
when it appears, by how much it exceeds what was counted.
"""

from __future__ import annotations

from typing import Final

import msgspec

from exporter.tracking.identity import TOLD, WAITING, begins_anew, is_same, name, told
from exporter.tracking.records import NO_AMOUNTS, Amounts, KnownCall, Record, Seen, digest
from exporter.tracking.rules import FARTHEST
from exporter.tracking.tallies import Draft, amounts_of
from exporter.unpod.facts import Call, Task
from exporter.unpod.vocabulary import FIELDS, OPEN_STATUSES, TERMINAL_STATUSES

_LONGEST_DELAY: Final = 366 * 86_400.0
"""Seconds; a start that seems later than this comes from a wrong date."""
PATIENCE: Final = 6
"""How many settling times a stub is watched, since its record may come late."""
_NO_CALL: Final = KnownCall()
_SKEW: Final = 60.0
"""Seconds by which the clocks of the platform and of the exporter may differ."""
_FIELD_BITS: Final = {field: 1 << place for place, field in enumerate(FIELDS)}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How a task is looked at."""

    now: float
    """Unix seconds."""
    settling: float
    """Seconds after which a call that stays a stub is counted as it is."""
    history: bool = False
    """What a task shows at first sight lies in the past and is not to be counted."""
    keep_numbers: bool = False
    """The organisation's own numbers are counted, so a held call may keep its number."""
    steady: bool = True
    """The exporter's clock has not been set of late."""


def observe(known: Record | None, task: Task, look: Look, draft: Draft) -> Record:
    """What is known of ``task`` after this look; the events since the last one go into ``draft``."""
    task = _resolved(known, task)
    _count_task(known, task, look, draft)
    call, past = _count_call(known, task, look, draft)
    started = _count_start(known, task, call, look, draft)
    is_open = task.status in OPEN_STATUSES
    return Record(
        status=task.status,
        execution_type=task.execution_type,
        retry_attempt=task.retry_attempt,
        failure_count=task.failure_count,
        created=known.created if known and known.created is not None else task.created,
        scheduled=task.scheduled if is_open or not started else None,
        changed=task.changed,
        entered=_entered(known, task, look) if is_open else None,
        run=digest(task.run) if is_open and task.run else 0,
        odd=_count_odd(known, task, look, draft),
        started=started,
        call=call,
        past=past,
        settles=None if is_open else _settles(known, task, call, look),
        place=known.place if known else None,
    )


def shifted(record: Record, seconds: float) -> Record:
    """The record when the exporter's clock has been set so far ahead: what is to come comes no sooner for it, and no
    later where it has been set back. (When a call has ended is not shifted: it is held against the platform's times.)
    """
    call = record.call
    if call is not None and call.due is not None:
        call = msgspec.structs.replace(call, due=call.due + seconds)
    settles = None if record.settles is None else record.settles + seconds
    return msgspec.structs.replace(record, call=call, settles=settles)


def _resolved(known: Record | None, task: Task) -> Task:
    """The task, with the attempts that it does not tell as they were last known."""
    if known is None or not task.untold:
        return task
    return msgspec.structs.replace(task, **{field: getattr(known, field) for field in task.untold})


def _settles(known: Record | None, task: Task, call: KnownCall | None, look: Look) -> float | None:
    """Until when a task that is not open is watched: for the settling time after a change, longer for a stub."""
    waits = PATIENCE * look.settling if call is not None and call.held is not None else look.settling
    if known is None:
        until = _newest(task, look) + PATIENCE * look.settling
    elif (known.status, known.call, known.retry_attempt) != (task.status, call, task.retry_attempt):
        until = look.now + waits
    else:
        # A clock that was ahead must not have it watched for as long.
        until = min(known.settles or 0.0, look.now + PATIENCE * look.settling)
    if call is not None and call.due is not None:
        # Whatever else is settled: somebody has to look when it is due.
        until = max(until, call.due)
    return until if until > look.now else None


def _newest(task: Task, look: Look) -> float:
    """When a task that is seen for the first time has changed last, as far as its times tell."""
    call = task.call
    start, end = (call.start, call.end) if call else (None, None)
    newest: float | None = None
    for time in (task.created, task.changed, task.scheduled, start, end):
        if time is not None and time <= look.now and (newest is None or time > newest):
            newest = time
    return look.now if newest is None else newest


def _count_task(known: Record | None, task: Task, look: Look, draft: Draft) -> None:
    kind, status = task.execution_type, task.status
    if known is None:
        draft.moved(None, (kind, status))
        if look.history:
            return
        draft.at(task.created)
        draft.created(kind)
    elif (known.execution_type, known.status) != (kind, status):
        draft.moved((known.execution_type, known.status), (kind, status))
    draft.at(None)
    if (risen := task.retry_attempt - (known.retry_attempt if known else 0)) > 0:
        draft.retried(kind, risen)
    if (risen := task.failure_count - (known.failure_count if known else 0)) > 0:
        draft.failures(kind, risen)
    if known is None or known.status != status:
        _count_entry(known, task, draft)


def _count_entry(known: Record | None, task: Task, draft: Draft) -> None:
    draft.entered(task.execution_type, task.status)
    if task.status == "failed":
        draft.failed(task.failure_reason)
    if task.status in TERMINAL_STATUSES:
        draft.finished(task.execution_type, _final_attempt(known, task))


def _final_attempt(known: Record | None, task: Task) -> int:
    """The attempt in which a task has finished: success sets ``retry_attempt`` back to 0 in the same step."""
    if known and known.open and task.status == "completed":
        return max(known.retry_attempt, task.retry_attempt)
    return task.retry_attempt


def _count_odd(known: Record | None, task: Task, look: Look, draft: Draft) -> int:
    before = known.odd if known else 0
    if not task.odd:
        return before
    fresh = [field for field in task.odd if not before & _FIELD_BITS[field]]
    if known is not None or not look.history:
        draft.at(None)
        draft.odd(fresh)
    return before | sum(_FIELD_BITS[field] for field in fresh)


def _entered(known: Record | None, task: Task, look: Look) -> float:
    """Since when a task has its status: ``last_status_change``, unless this very change has not moved it."""
    if known and known.status == task.status and known.entered is not None:
        return known.entered
    if task.changed is None or (known and known.changed == task.changed):
        return look.now
    return min(task.changed, look.now)


def _count_start(known: Record | None, task: Task, call: KnownCall | None, look: Look, draft: Draft) -> bool:
    """Counts the start delay of a task once, at its first call; returns whether that is settled now."""
    if known and known.started:
        return True
    waits_again = task.status in WAITING and task.retry_attempt > 0
    first = task.retry_attempt - waits_again == 0
    if call is None or call.start is None:
        # A later attempt, a call that is gone or left behind, and no start in sight: the first one is gone for good.
        gone = known is not None and known.call is not None and call is None
        return not first or gone or bool(call and call.seen & (Seen.LEFT | Seen.LATER))
    first = first and not call.seen & Seen.LATER
    due = _due(known, task, call.start)
    if first and due is not None and call.start - due < _LONGEST_DELAY and not (known is None and look.history):
        draft.at(call.start)
        draft.started(task.execution_type, max(0.0, call.start - due))
    return True


def _due(known: Record | None, task: Task, start: float) -> float | None:
    """When the first call was due; None where a retry has overwritten it before it was seen."""
    if task.scheduled is None or task.scheduled <= start or task.retry_attempt == 0:
        return task.created if task.scheduled is None else task.scheduled
    if known is None:
        return None
    return task.created if known.scheduled is None else known.scheduled


def _count_call(known: Record | None, task: Task, look: Look, draft: Draft) -> tuple[KnownCall | None, tuple[int, ...]]:
    """Follows the calls of a task; returns the last one and the names of those before it."""
    if known is None or known.call is None:
        past = known.past if known else ()
        return (_first_seen(task.call, known, task, look, draft) if task.call else None), past
    before, shown = known.call, task.call
    if shown is None:
        return _hidden(before, task, look, draft), known.past
    if name(shown) in known.past:
        # An old call shown again: it has been counted.
        return before, known.past
    if is_same(before, shown, known, task):
        before = _left_if(begins_anew(known, task), before)
        return _left_if(task.status in WAITING, _followed(before, shown, task, look, draft)), known.past
    replaced = _finalised(before, draft)
    counted = replaced.seen & (Seen.COUNTED | Seen.CLOSED)
    past = (*known.past, replaced.name) if counted and replaced.name else known.past
    later = KnownCall(seen=Seen.LATER)
    return _left_if(task.status in WAITING, _followed(later, shown, task, look, draft)), past


def _hidden(before: KnownCall, task: Task, look: Look, draft: Draft) -> KnownCall | None:
    """The known call while the output tells of none; None: it is over, and how it ended was never told."""
    if task.status in TERMINAL_STATUSES and not before.seen & Seen.ENDED:
        return None
    return _left_if(task.status in WAITING, _settled(before, look, draft))


def _first_seen(shown: Call, known: Record | None, task: Task, look: Look, draft: Draft) -> KnownCall:
    if known is None and not _enriched(shown) and look.now - _newest(task, look) >= PATIENCE * look.settling:
        # What is a stub for so long already will not be enriched any more.
        look = msgspec.structs.replace(look, settling=0.0)
    closed = known is None and look.history and _over(shown, task)
    call = _followed(KnownCall(seen=Seen.CLOSED) if closed else _NO_CALL, shown, task, look, draft)
    return _left_if(task.status in WAITING, call)


def _left_if(left: bool, call: KnownCall) -> KnownCall:
    """The call, marked as left behind where it has ended and its task waits or begins anew."""
    if not left or not call.seen & Seen.ENDED or call.seen & Seen.LEFT:
        return call
    return msgspec.structs.replace(call, seen=call.seen | Seen.LEFT)


def _over(call: Call, task: Task) -> bool:
    return call.over or task.status in TERMINAL_STATUSES


def _enriched(call: Call) -> bool:
    """Whether an ended call tells its end or duration. The 0 of a call just dispatched tells nothing."""
    return call.end is not None or (call.duration is not None and (call.over or call.duration > 0))


def _followed(before: KnownCall, shown: Call, task: Task, look: Look, draft: Draft) -> KnownCall:
    """The known call after another look at it."""
    seen = before.seen & ~TOLD | told(shown)
    # An output that tells no name may be that of a later call: the names told before are not to be taken for its own.
    named = before if seen & TOLD else _NO_CALL
    identity = digest(shown.id) if shown.id else named.id
    start = named.start if shown.start is None else shown.start
    ended, due, held, amounts = before.ended, before.due, None, before.amounts
    if not seen & Seen.ENDED and _over(shown, task):
        seen |= Seen.ENDED
        ended, due = _moment(task, shown, look), look.now + look.settling
    waits = seen & Seen.ENDED and not seen & Seen.CLOSED
    if waits and seen & Seen.COUNTED:
        seen, amounts = _count_parts(seen, amounts, shown, draft)
    elif waits and _enriched(shown):
        ended = None if identity or start is not None else ended
        seen, amounts = _count_end(seen, amounts, shown, draft)
    elif waits:
        held = _held(shown, look)
    call = KnownCall(identity, start, shown.digest, seen, ended, held, amounts, due if held is not None else None)
    return call if held is None else _settled(call, look, draft)


def _held(shown: Call, look: Look) -> Call:
    return shown if look.keep_numbers or not shown.number else msgspec.structs.replace(shown, number="")


def _moment(task: Task, shown: Call, look: Look) -> float | None:
    """Now, by the exporter's clock; by the platform's where that is clearly ahead, since one of them has jumped. None
    where nobody knows which of the clocks is right."""
    if not look.steady:
        return None
    told = 0.0
    for time in (task.created, task.changed, shown.start, shown.end):
        if time is not None and time > told:
            told = time
    return look.now if told <= look.now + _SKEW else min(told, look.now + FARTHEST)


def _settled(call: KnownCall, look: Look, draft: Draft) -> KnownCall:
    """The call, counted if it has been a stub for longer than the settling time."""
    if call.held is None:
        return call
    # A clock that was ahead must not make it wait for as long.
    due = look.now + look.settling if call.due is None else min(call.due, look.now + look.settling)
    if look.now >= due:
        return _finalised(call, draft)
    return call if due == call.due else msgspec.structs.replace(call, due=due)


def _finalised(call: KnownCall, draft: Draft) -> KnownCall:
    """The call, counted as it was last shown, if it has ended and is not counted yet."""
    if call.held is None:
        return call
    seen, amounts = _count_end(call.seen, call.amounts, call.held, draft)
    ended = None if call.has_name else call.ended
    return KnownCall(call.id, call.start, call.digest, seen, ended, None, amounts)


def _count_end(seen: int, amounts: Amounts | None, shown: Call, draft: Draft) -> tuple[int, Amounts | None]:
    """Counts a call whose record is final; returns what of it is counted now."""
    draft.at(shown.moment)
    draft.call(shown)
    return _count_parts(seen | Seen.COUNTED, amounts, shown, draft)


def _count_parts(seen: int, amounts: Amounts | None, shown: Call, draft: Draft) -> tuple[int, Amounts | None]:
    """Counts what has appeared of a counted call since the last look; returns what of it is counted now."""
    draft.at(shown.moment)
    if shown.end is not None:
        draft.ended_at(shown.end)
    if shown.duration and not seen & Seen.DURATION:
        draft.duration(shown.direction, shown.duration)
        seen |= Seen.DURATION
    if shown.recorded and not seen & Seen.RECORDING:
        draft.recorded()
        seen |= Seen.RECORDING
    if shown.silent is not None and not seen & Seen.TRANSCRIPT:
        if shown.silent:
            draft.silent()
        seen |= Seen.TRANSCRIPT
    if shown.outcome is not None and not seen & Seen.OUTCOME:
        draft.outcome(shown.outcome)
        seen |= Seen.OUTCOME
    if shown.sentiment is not None and not seen & Seen.SENTIMENT:
        draft.sentiment(shown.sentiment)
        seen |= Seen.SENTIMENT
    counted = draft.amounts(amounts or NO_AMOUNTS, amounts_of(shown))
    return seen, None if counted == NO_AMOUNTS else counted
