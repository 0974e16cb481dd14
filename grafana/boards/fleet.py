"""Fleet: how all agents do, the worst first."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as build

from exporter.unpod import vocabulary
from grafana.frame import Chapter, board
from grafana.palette import BAD, GOOD, PLAIN, WARNING, WORDS
from grafana.panels import Column, Panel, Query, agents_table, figure, lines, of_words, stacked
from grafana.promql import (
    ANSWERED,
    ENDED,
    FAULTS,
    OPEN,
    OUTBOUND,
    WAITING,
    age,
    growth,
    now,
    per_hour,
    per_second,
    quantile,
    share,
    total,
    worst,
)

REASONS: Final = "unpod_call_end_reasons_total"
FAULTY: Final = f'end_reason=~"{FAULTS}"'
COST: Final = "unpod_call_cost_dollars_total"
STALE: Final = ((None, GOOD), (180.0, WARNING), (900.0, BAD))
"""Polls come once a minute: three missed, and fifteen minutes, after which the gauges disappear."""
FEW_ANSWER: Final = ((None, BAD), (0.3, WARNING), (0.6, GOOD))
"""60 to 70 % is usual for good lists."""
MANY_FAULTS: Final = ((None, GOOD), (0.02, WARNING), (0.1, BAD))


def fleet() -> build.Dashboard:
    """The dashboard."""
    return board(
        "unpod-fleet",
        "How all agents do, the worst first. A row of the table leads to the dashboard of that agent.",
        (
            Chapter("How is it going right now?", _now()),
            Chapter("Which agents need a look?", (_table(),)),
            Chapter("Is the work getting done?", _work()),
            Chapter("Do people pick up, and how do calls end?", _calls()),
            Chapter("What comes of it, and what does it cost?", _results()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    up = now("unpod_agent_up")
    return (
        figure(
            "Agents down",
            "Agents whose last poll failed. Their numbers stand still, and their gauges disappear after a while.",
            "short",
            f"count({up}) - sum({up})",
            ((None, GOOD), (1.0, BAD)),
            width=3,
        ),
        figure(
            "Oldest numbers",
            "How long ago the agent that is farthest behind was polled with success. Yellow: about three polls were "
            "missed; orange: gauges disappear (polling.max_staleness, 15 minutes by default, or 2.5 intervals).",
            "s",
            f"max({age(now('unpod_agent_last_success_timestamp_seconds'))})",
            STALE,
            width=3,
            decimals=0,
        ),
        figure(
            "Open tasks",
            "Tasks that are neither completed nor failed: pending, scheduled, processing, in progress or on hold.",
            "short",
            total(now("unpod_tasks", f'status=~"{OPEN}"')),
            width=3,
        ),
        figure(
            "Overdue tasks",
            "Waiting tasks whose scheduled time passed more than the grace period ago (polling.overdue_grace). Any is "
            "worth a look; where many are, work piles up.",
            "short",
            total(now("unpod_tasks_overdue")),
            ((None, GOOD), (1.0, WARNING), (50.0, BAD)),
            width=3,
        ),
        figure(
            "Calls",
            "Ended calls in the chosen time, each attempt once.",
            "short",
            total(growth(ENDED)),
            width=3,
        ),
        figure(
            "Answered",
            "Share of the ended outbound calls that were connected or completed, in the chosen time. 60 to 70 % is "
            "usual for good lists; below 30 % numbers may be flagged as spam.",
            "percentunit",
            share(total(growth(ENDED, OUTBOUND, ANSWERED)), total(growth(ENDED, OUTBOUND))),
            FEW_ANSWER,
            width=3,
            decimals=1,
        ),
        figure(
            "Ended by a fault",
            "Share of the ended calls, in the chosen time, whose end reason is a fault of the platform or of a "
            "provider: start, LLM, TTS, STT, pipeline or transport error. Yellow from 2 %, orange from 10 %.",
            "percentunit",
            share(total(growth(REASONS, FAULTY)), total(growth(REASONS))),
            MANY_FAULTS,
            width=3,
            decimals=1,
        ),
        figure(
            "Cost",
            "What the calls that ended in the chosen time cost, as far as the platform has told it.",
            "currencyUSD",
            total(growth(COST)),
            width=3,
            decimals=2,
        ),
    )


def _table() -> Panel:
    each = "agent"
    return agents_table(
        "Agents, worst first",
        "The agents with the highest share of calls that ended by a fault come first; click a heading for another "
        "order, and a name for the agent. Shares and sums are those of the chosen time, the rest is as of now. Empty: "
        "the agent has no such calls or tasks.",
        (
            Column(
                "Up",
                total(now("unpod_agent_up"), each),
                "short",
                ((None, BAD), (1.0, GOOD)),
                texts={"0": "no", "1": "yes"},
            ),
            Column("Age", age(total(now("unpod_agent_last_success_timestamp_seconds"), each)), "s", STALE, decimals=0),
            Column("Open", total(now("unpod_tasks", f'status=~"{OPEN}"'), each), "short"),
            Column(
                "Overdue", total(now("unpod_tasks_overdue"), each), "short", ((None, GOOD), (1.0, WARNING), (50.0, BAD))
            ),
            Column("Longest wait", age(_oldest()), "s", decimals=1),
            Column("Calls", total(growth(ENDED), each), "short"),
            Column(
                "Answered",
                share(total(growth(ENDED, OUTBOUND, ANSWERED), each), total(growth(ENDED, OUTBOUND), each)),
                "percentunit",
                FEW_ANSWER,
                decimals=1,
            ),
            Column(
                "Faults",
                share(total(growth(REASONS, FAULTY), each), total(growth(REASONS), each)),
                "percentunit",
                MANY_FAULTS,
                decimals=1,
            ),
            Column(
                "Median talk",
                quantile(0.5, growth("unpod_call_duration_seconds_bucket"), each),
                "s",
                decimals=0,
            ),
            Column(
                "Failed tasks",
                total(growth("unpod_task_transitions_total", 'status="failed"'), each),
                "short",
                decimals=0,
            ),
            Column("Cost", total(growth(COST), each), "currencyUSD", decimals=2),
        ),
        worst="Faults",
    )


def _oldest() -> str:
    """Since when the longest-waiting task of an agent waits that has not been started; a time to come is none yet."""
    waiting = now("unpod_oldest_open_task_timestamp_seconds", f'status=~"{WAITING}"')
    return f"(min by (agent) ({waiting}) < time())"


def _work() -> tuple[Panel, ...]:
    return (
        stacked(
            "Open tasks by status",
            "Tasks that are neither completed nor failed, of all chosen agents. A growing stack means that more comes "
            "in than is worked off.",
            "short",
            (Query(total(now("unpod_tasks", f'status=~"{OPEN}"'), "status"), "{{status}}"),),
            colours=of_words(vocabulary.OPEN_STATUSES),
        ),
        lines(
            "Overdue tasks of the ten worst agents",
            "Waiting tasks whose scheduled time passed more than the grace period ago, for the ten agents that have "
            "most of them at the end of the chosen time.",
            "short",
            (Query(worst(total(now("unpod_tasks_overdue"), "agent")), "{{agent}}"),),
        ),
        lines(
            "Longest wait of the ten worst agents",
            "How long the longest-waiting task that has not been started yet has been waiting: since it was created, "
            "or since it was due. A line that only ever rises is an agent that starts nothing.",
            "s",
            (Query(worst(age(_oldest())), "{{agent}}"),),
        ),
    )


def _calls() -> tuple[Panel, ...]:
    return (
        stacked(
            "Calls per hour by status",
            "Ended calls, each attempt once, by the status that the platform gave them.",
            "suffix: /h",
            (Query(per_hour(ENDED, "call_status"), "{{call_status}}"),),
            colours=of_words(vocabulary.CALL_STATUSES),
            bars=True,
        ),
        stacked(
            "Calls per hour by end reason",
            "The same calls by the group of their end reason. Green: somebody talked; blue and violet: nobody did; "
            "yellow, orange and brown: a fault of the platform or of a provider.",
            "suffix: /h",
            (Query(per_hour(REASONS, "end_reason"), "{{end_reason}}"),),
            colours=of_words(vocabulary.END_REASONS),
            bars=True,
        ),
        lines(
            "Faults by the ten worst agents",
            "Share of the ended calls whose end reason is a fault of the platform or of a provider, for the ten agents "
            "that are highest in the whole of the chosen time. One agent alone: its pipeline; all at once: the "
            "platform. The dashed line is 10 %.",
            "percentunit",
            (
                Query(
                    worst(share(total(per_second(REASONS, FAULTY), "agent"), total(per_second(REASONS), "agent"))),
                    "{{agent}}",
                ),
            ),
            steps=((None, "transparent"), (0.1, BAD)),
            step="5m",
        ),
    )


def _results() -> tuple[Panel, ...]:
    return (
        stacked(
            "Outcomes per hour",
            "What came of calls, from their post-call data. Calls without such data are not here.",
            "suffix: /h",
            (Query(per_hour("unpod_call_outcomes_total", "outcome"), "{{outcome}}"),),
            colours=of_words(vocabulary.OUTCOMES),
            bars=True,
        ),
        stacked(
            "Cost per hour of each agent",
            "What ended calls cost, by agent.",
            "currencyUSD",
            (Query(per_hour(COST, "agent"), "{{agent}}"),),
            colours=None,
            bars=True,
        ),
        lines(
            "Cost of a call and of an interested person",
            "What a call costs on average, and what it costs to reach somebody who is interested: the figure that says "
            "whether it pays.",
            "currencyUSD",
            (
                Query(share(total(per_second(COST)), total(per_second(ENDED))), "per call"),
                Query(
                    share(
                        total(per_second(COST)), total(per_second("unpod_call_outcomes_total", 'outcome="interested"'))
                    ),
                    "per interested person",
                ),
            ),
            colours={"per call": PLAIN, "per interested person": WORDS["interested"]},
            step="15m",
            decimals=2,
        ),
    )
