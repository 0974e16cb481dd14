"""The life of an agent's tasks: what happens to them, when, and what it leaves in their records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final

from exporter.simulator import calls, truth, words
from exporter.simulator.agenda import Agenda
from exporter.simulator.calls import SECOND, Call, Dialler
from exporter.simulator.identity import Identities
from exporter.simulator.profiles import Profile, Span
from exporter.simulator.shelf import Shelf
from exporter.simulator.tables import Table
from exporter.simulator.tasks import Run, Task, changed_event, created_event, shown_event
from exporter.simulator.words import ABSENT, BROKEN, CONNECTED, UNANSWERED, Failure

KINDS: Final[Mapping[str | None, str]] = {
    None: "unknown",
    "": "unknown",
    "call": "call",
    "email": "email",
    "answer": "answer",
    "sdk_call": "sdk_call",
    "space_call": "space_call",
    "email_classification": "email_classification",
    "dealer": "dealer",
    "carrier_pigeon": "other",
}
"""Raw execution types (empty: absent) and what they mean."""
WITHOUT_CALL: Final = frozenset(("email", "email_classification", "dealer"))
_SOON: Final[Span] = (0.05, 2.0)


class Life:
    """All that happens to one agent. Every method with ``at`` is an action of the agenda."""

    def __init__(
        self,
        profile: Profile,
        agenda: Agenda,
        record: Callable[[truth.Event], None],
        call_numbers: Iterator[int],
        *,
        random: Random,
        live_from: float,
        undated_until: float,
    ) -> None:
        self.profile = profile
        self.shelf = Shelf()
        self._agenda = agenda
        self._record = record
        self._call_numbers = call_numbers
        self._random = random
        # In whole milliseconds, as the agenda keeps time: an earlier moment would come again and again.
        self._live_from = round(live_from, 3)
        self._undated_until = undated_until
        self._identities = Identities(random)
        self._dialler = Dialler(profile, random)
        self._kinds = Table(*profile.execution_types)
        self._run: Run | None = None

    def behave(self, profile: Profile) -> None:
        """Have these habits from now on: what has been planned goes on as it was."""
        self.profile = profile
        self._dialler.behave(profile)
        self._kinds = Table(*profile.execution_types)

    def begin(self) -> None:
        """Plan the first arrivals."""
        self._next_arrival(self._agenda.now)
        if self.profile.bulk_every is not None:
            self._later(self._agenda.now, self._random.expovariate(1 / self.profile.bulk_every), self._bulk)

    # Small words

    def _later(self, at: float, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self._agenda.at(at + max(seconds, 0.002), action, *args)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _between(self, span: Span) -> float:
        return self._random.uniform(*span)

    def _publish(self, at: float, task: Task) -> None:
        """Log what a change of the task shows."""
        agent = self.profile.handle
        task.revision += 1
        state, sight = task.state(), task.sight()
        if state != task.seen_state:
            task.seen_state = state
            self._record(changed_event(task, at, agent))
        if sight == task.seen_call:
            return
        task.seen_call = sight
        if sight is None or task.call is None:
            self._record(truth.Hidden(at=at, agent=agent, task=task.id))
        else:
            self._record(shown_event(task, task.call, sight[2], at, agent))

    def _show(self, task: Task, call: Call, stage: str) -> None:
        task.call, task.stage, task.error, task.note = call, stage, None, None

    def _touch(self, at: float, task: Task, share: float) -> None:
        """``last_status_change`` is not updated by every transition."""
        if self._chance(share):
            task.changed = at

    # Arrivals

    def _next_arrival(self, at: float) -> None:
        profile = self.profile
        pace = profile.tasks_per_hour
        if at >= self._live_from and profile.live_tasks_per_hour is not None:
            pace = profile.live_tasks_per_hour
        when = at + self._random.expovariate(pace / 3600) if pace > 0 else float("inf")
        if at < self._live_from <= when:
            self._agenda.at(self._live_from, self._next_arrival)
        elif when < float("inf"):
            self._agenda.at(when, self._arrive)

    def _arrive(self, at: float) -> None:
        self._next_arrival(at)
        raw = self._kinds.pick(self._random)
        if raw not in WITHOUT_CALL and self._chance(self.profile.inbound):
            call = self._dialler.dial(next(self._call_numbers), at, inbound=True, kind=KINDS[raw])
            self._later(_end_of(call), self._between(_SOON), self._log_inbound, raw, call)
            return
        task = self._create(at, raw, self._current_run(at))
        if self._chance(self.profile.ahead):
            task.status = "scheduled"
            task.scheduled = int(at + self._between(self.profile.ahead_span))
        self._announce(at, task)
        if task.status == "pending" and self._chance(self.profile.held):
            self._later(at, self._between(_SOON), self._hold, task)
        else:
            self._queue(at, task)

    def _bulk(self, at: float) -> None:
        self._later(at, self._random.expovariate(1 / (self.profile.bulk_every or 1.0)), self._bulk)
        run = Run(self._identities.run(at), [])
        step = 0.0 if self._chance(self.profile.ties) else 0.001 * self._random.randint(1, 9)
        pace = self._random.uniform(0.3, 2.0)
        for number in range(self._random.randint(*self.profile.bulk_size)):
            self._agenda.at(at + step * number, self._arrive_in_bulk, run, pace * number)

    def _arrive_in_bulk(self, at: float, run: Run, wait: float) -> None:
        task = self._create(at, self._kinds.pick(self._random), run)
        self._announce(at, task)
        self._queue(at, task, wait)

    def _current_run(self, at: float) -> Run:
        if self._run is None or len(self._run.tasks) >= self.profile.run_size:
            self._run = Run(self._identities.run(at), [])
        return self._run

    def _create(self, at: float, raw: str | None, run: Run) -> Task:
        undated = self.profile.older and at < self._undated_until and self._chance(0.2)
        task = Task(
            id=self._identities.task(at),
            object_id=self._identities.document(at),
            run=run,
            created=at,
            dated=not undated,
            kind=KINDS[raw],
            raw_kind=ABSENT if raw == "" else raw,
            seed=self._random.getrandbits(48),
        )
        run.tasks.append(task)
        self.shelf.add(task)
        return task

    def _announce(self, at: float, task: Task) -> None:
        task.seen_state = task.state()
        self._record(created_event(task, at, self.profile.handle))
        self._publish(at, task)

    def _log_inbound(self, at: float, raw: str | None, call: Call) -> None:
        task = self._create(at, raw, Run(self._identities.run(at), []))
        task.status = "completed"
        stub = self._chance(self.profile.stub)
        self._show(task, call, calls.STUB if stub else calls.ENRICHED)
        self._record_attempt(at, task, call)
        self._record_end(at, task, call)
        self._announce(at, task)
        self._after_completion(at, task, call)

    # Waiting

    def _queue(self, at: float, task: Task, wait: float = 0.0) -> None:
        due = max(at, float(task.scheduled)) if task.status == "scheduled" and task.scheduled else at
        wait += self._random.expovariate(1 / self.profile.queue)
        if self._chance(self.profile.neglected):
            wait += self._between((3600.0, 7200.0))
        self._later(due, wait, self._dispatch, task)

    def _hold(self, at: float, task: Task) -> None:
        task.status = "hold"
        self._touch(at, task, 0.5)
        self._publish(at, task)
        self._later(at, self._between((20.0, 1200.0)), self._release, task)

    def _release(self, at: float, task: Task) -> None:
        task.status = "pending"
        self._publish(at, task)
        self._queue(at, task)

    # Work

    def _dispatch(self, at: float, task: Task) -> None:
        if self._chance(self.profile.unstarted):
            self._fail_unstarted(at, task)
            return
        work = self._work if task.kind in WITHOUT_CALL else self._start
        if not self._chance(0.85):
            work(at, task)
            return
        task.status = "processing"
        task.changed = at
        self._publish(at, task)
        if not self._dies():
            self._later(at, self._between((0.3, 3.0)), work, task)

    def _dies(self) -> bool:
        """Whether the worker dies here, and its task stays as it is for ever."""
        return self._chance(self.profile.stuck / 2)

    def _work(self, at: float, task: Task) -> None:
        task.status = "in_progress"
        self._touch(at, task, 0.9)
        self._publish(at, task)
        if not self._dies():
            self._later(at, self._between((1.0, 20.0)), self._finish_work, task)

    def _finish_work(self, at: float, task: Task) -> None:
        if self._chance(self.profile.broken):
            self._fail_unstarted(at, task)
            return
        task.status = "completed"
        task.error = None
        task.note = self._random.choice(("Mail sent to", "Sorted: a complaint of", None))
        self._publish(at, task)

    def _start(self, at: float, task: Task) -> None:
        call = self._dialler.dial(next(self._call_numbers), at, inbound=False, kind=task.kind)
        task.status = "in_progress"
        self._touch(at, task, 0.9)
        if self._chance(self.profile.retry_shows_dispatch):
            self._show(task, call, calls.DISPATCH)
        self._record_attempt(at, task, call)
        self._publish(at, task)
        if not self._dies():
            self._agenda.at(_end_of(call), self._hang_up, task, call)

    def _hang_up(self, at: float, task: Task, call: Call) -> None:
        self._record_end(at, task, call)
        self._later(at, self._between(_SOON), self._settle, task, call)

    def _record_attempt(self, at: float, task: Task, call: Call) -> None:
        agent = self.profile.handle
        self._record(truth.Attempted(at=at, agent=agent, task=task.id, call=call.number, start=call.start / SECOND))

    def _record_end(self, at: float, task: Task, call: Call) -> None:
        self._record(
            truth.Ended(
                at=at,
                agent=self.profile.handle,
                task=task.id,
                call=call.number,
                end=call.end / SECOND,
                reason=call.reason.group,
                duration=(call.end - call.start) / SECOND,
                cost=call.cost,
            )
        )

    def _settle(self, at: float, task: Task, call: Call) -> None:
        """The platform learns how a call ended."""
        again = {CONNECTED: 0.0, UNANSWERED: self.profile.retry_unanswered, BROKEN: 0.85}[call.verdict]
        if task.retry_attempt < self.profile.max_retries and self._chance(again):
            self._retry(at, task, call)
        elif call.verdict == BROKEN or (
            call.verdict == UNANSWERED and not self._chance(self.profile.unanswered_completes)
        ):
            self._fail(at, task, call)
        else:
            self._complete(at, task, call)

    def _retry(self, at: float, task: Task, call: Call) -> None:
        delay = self._between(self.profile.retry_delay)
        self._show(task, call, calls.PARTIAL)
        task.retry_attempt += 1
        task.retried = True
        task.failure_count += int(self.profile.older)
        self._touch(at, task, 0.5)
        if self._chance(0.7):
            task.status, task.scheduled = "scheduled", int(at + delay) + 1
            self._publish(at, task)
            self._queue(at, task)
        else:
            task.status = "pending"
            self._publish(at, task)
            self._later(at, delay, self._dispatch, task)

    # Ends

    def _fail_unstarted(self, at: float, task: Task) -> None:
        failure = words.UNSTARTED.pick(self._random)
        if task.stage == calls.DISPATCH or self._chance(0.7):
            task.call = None
        self._mark_failed(at, task, failure)

    def _fail(self, at: float, task: Task, call: Call) -> None:
        failure = words.NOT_ANSWERED if call.verdict == UNANSWERED else Failure("Failed to start call", "start_failed")
        if task.retry_attempt:
            failure = words.out_of_retries(task.retry_attempt)
        self._show(task, call, calls.PARTIAL)
        if self._chance(0.2):
            task.call = None
        self._mark_failed(at, task, failure)

    def _mark_failed(self, at: float, task: Task, failure: Failure) -> None:
        task.status = "failed"
        task.failure_count += int(self.profile.older)
        task.error = failure if task.call is None or self._chance(0.8) else None
        if self._chance(0.35):
            task.reason = failure
        self._touch(at, task, 0.7)
        self._publish(at, task)
        if self._chance(self.profile.recovered):
            self._later(at, self._between((20.0, 900.0)), self._recover, task)
        if not task.run.decided:
            task.run.decided = True
            if self._chance(self.profile.restarted):
                self._later(at, self._between(self.profile.restart_delay), self._restart, task.run)

    def _recover(self, at: float, task: Task) -> None:
        if task.status != "failed":
            return
        task.status = "completed"
        if task.call is None or task.stage != calls.PARTIAL:
            self._publish(at, task)
            return
        task.stage = calls.ENRICHED
        self._publish(at, task)
        self._after_completion(at, task, task.call)

    def _restart(self, at: float, run: Run) -> None:
        clears = self._chance(0.4)
        for task in run.tasks:
            if task.status != "failed":
                continue
            task.status, task.retry_attempt = "pending", 0
            if clears:
                task.call = task.error = None
            self._touch(at, task, 0.5)
            self._publish(at, task)
            self._queue(at, task)

    def _complete(self, at: float, task: Task, call: Call) -> None:
        task.status = "completed"
        self._touch(at, task, 0.2)
        if self.profile.retry_reset_on_success:
            task.retry_attempt = 0
        bare = call.verdict == UNANSWERED and self._chance(0.08)
        stub = self._chance(self.profile.stub)
        self._show(task, call, calls.BARE if bare else calls.STUB if stub else calls.ENRICHED)
        self._publish(at, task)
        self._after_completion(at, task, call)

    def _after_completion(self, at: float, task: Task, call: Call) -> None:
        """What is still to come for a completed call, by the stage that its record has reached."""
        if task.stage == calls.STUB and not self._chance(self.profile.stub_forever):
            slow = self._chance(self.profile.slow_enrichment)
            self._later(
                at, self._between((660.0, 1200.0) if slow else self.profile.stub_delay), self._enrich, task, call
            )
        elif task.stage == calls.ENRICHED and call.judged_later:
            self._later(at, self._between((3.0, 150.0)), self._judge, task, call)
        elif task.stage in (calls.ENRICHED, calls.JUDGED) and self._chance(self.profile.redialled):
            self._later(at, self._between(self.profile.redial_delay), self._redial, task)

    def _enrich(self, at: float, task: Task, call: Call) -> None:
        task.stage = calls.ENRICHED
        self._publish(at, task)
        self._after_completion(at, task, call)

    def _judge(self, at: float, task: Task, call: Call) -> None:
        task.stage = calls.JUDGED
        self._publish(at, task)
        self._after_completion(at, task, call)

    def _redial(self, at: float, task: Task) -> None:
        task.status = "scheduled"
        task.scheduled = int(at + self._between((5.0, 300.0))) + 1
        self._touch(at, task, 0.5)
        self._publish(at, task)
        self._queue(at, task)


def _end_of(call: Call) -> float:
    """The moment at which a call has surely ended, in whole milliseconds."""
    return -(-call.end // 1000) / 1000
