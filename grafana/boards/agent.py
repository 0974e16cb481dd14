"""Agent: one in depth."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as build

from exporter.unpod import vocabulary
from grafana.frame import Chapter, board
from grafana.palette import BAD, GOOD, PLAIN, SOFT, WARNING, WORDS
from grafana.panels import Panel, Query, figure, lines, of_words, ranking, spread, stacked
from grafana.promql import (
    ANSWERED,
    ENDED,
    HOUR,
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
)

REASONS: Final = "unpod_call_end_reasons_total"
TRANSITIONS: Final = "unpod_task_transitions_total"
TALK: Final = "unpod_call_duration_seconds"
COST: Final = "unpod_call_cost_dollars_total"
STALE: Final = ((None, GOOD), (180.0, WARNING), (900.0, BAD))
OUTCOMES: Final = "unpod_call_outcomes_total"
INTERESTED: Final = 'outcome="interested"'
BUSY: Final = "processing|in_progress"


def agent() -> build.Dashboard:
    """The dashboard."""
    return board(
        "unpod-agent",
        "One agent in depth: its work, its calls, why they end, and what comes of them. Choose it above; several are "
        "added up.",
        (
            Chapter("How is it right now, and can its numbers be trusted?", _now()),
            Chapter("Is its work getting done, and in time?", _work()),
            Chapter("Do people pick up, and why do calls end?", _calls()),
            Chapter("How long do people talk, and how does the agent sound?", _talk()),
            Chapter("What fails, in whose words, and do retries help?", _failures()),
            Chapter("What comes of it, and what does it cost?", _results()),
        ),
    )


def _now() -> tuple[Panel, ...]:
    return (
        figure(
            "Age of the numbers",
            "How long ago the last successful poll ended. Yellow: about three polls were missed; orange: gauges "
            "disappear (polling.max_staleness, 15 minutes by default, or 2.5 intervals).",
            "s",
            f"max({age(now('unpod_agent_last_success_timestamp_seconds'))})",
            STALE,
            decimals=0,
        ),
        figure(
            "Open tasks",
            "Tasks that are neither completed nor failed.",
            "short",
            total(now("unpod_tasks", f'status=~"{OPEN}"')),
        ),
        figure(
            "Overdue tasks",
            "Waiting tasks whose scheduled time passed more than the grace period ago (polling.overdue_grace).",
            "short",
            total(now("unpod_tasks_overdue")),
            ((None, GOOD), (1.0, WARNING), (50.0, BAD)),
        ),
        figure(
            "Longest wait",
            "How long the longest-waiting task that has not been started has been waiting. Yellow from 15 minutes, "
            "orange from an hour: at that pace a list is not called through in a day.",
            "s",
            f"max({age(_since(WAITING))})",
            ((None, GOOD), (900.0, WARNING), (3600.0, BAD)),
            absent="Nothing waits",
        ),
        figure(
            "Longest in progress",
            "How long the task that has been running longest has been running. No call lasts an hour: beyond that its "
            "worker is dead, and the task stays as it is until somebody mends it.",
            "s",
            f"max({age(_since(BUSY))})",
            ((None, GOOD), (1800.0, WARNING), (3600.0, BAD)),
            absent="Nothing runs",
        ),
        figure(
            "Cost",
            "What the calls that ended in the chosen time cost, as far as the platform has told it.",
            "currencyUSD",
            total(growth(COST)),
            decimals=2,
        ),
    )


def _since(statuses: str) -> str:
    """Since when the task waits that has been in one of these statuses for longest; a time to come is none yet."""
    since = now("unpod_oldest_open_task_timestamp_seconds", f'status=~"{statuses}"')
    return f"(min by (agent) ({since}) < time())"


def _work() -> tuple[Panel, ...]:
    return (
        stacked(
            "Open tasks by status",
            "Tasks that are neither completed nor failed. A growing stack means that more comes in than is worked off.",
            "short",
            (Query(total(now("unpod_tasks", f'status=~"{OPEN}"'), "status"), "{{status}}"),),
            colours=of_words(vocabulary.OPEN_STATUSES),
        ),
        lines(
            "Tasks per hour: created, completed, failed",
            "What comes in, and what is done with it. Between two polls at most one entry of each task into a status "
            "is seen.",
            "suffix: /h",
            (
                Query(f"{HOUR} * {total(per_second('unpod_tasks_created_total'))}", "created"),
                Query(f"{HOUR} * {total(per_second(TRANSITIONS, _status('completed')))}", "completed"),
                Query(f"{HOUR} * {total(per_second(TRANSITIONS, _status('failed')))}", "failed"),
            ),
            colours={"created": PLAIN, **of_words(("completed", "failed"))},
            step="5m",
        ),
        spread(
            "Start delay",
            "From when a task was due (scheduled, else created) to the start of its first call. What wanders up is a "
            "queue that grows.",
            "s",
            growth("unpod_task_start_delay_seconds_bucket", window="$__rate_interval"),
        ),
    )


def _status(status: str) -> str:
    return f'status="{status}"'


def _calls() -> tuple[Panel, ...]:
    outbound = total(per_second(ENDED, OUTBOUND))
    return (
        stacked(
            "Calls per hour by status",
            "Ended calls, each attempt once, by the status that the platform gave them.",
            "suffix: /h",
            (Query(per_hour(ENDED, "call_status"), "{{call_status}}"),),
            colours=of_words(vocabulary.CALL_STATUSES),
            bars=True,
        ),
        lines(
            "Answered, voicemail, short",
            "Shares: answered (connected or completed) and voicemail, of the ended outbound calls; talks below ten "
            "seconds, of the calls with a duration. More than 15 % short talks (dashed) is typical of numbers that "
            "people do not trust.",
            "percentunit",
            (
                Query(share(total(per_second(ENDED, OUTBOUND, ANSWERED)), outbound), "answered"),
                Query(share(total(per_second(ENDED, OUTBOUND, 'call_status="voicemail"')), outbound), "voicemail"),
                Query(
                    share(total(per_second(f"{TALK}_bucket", 'le=~"10|10.0"')), total(per_second(f"{TALK}_count"))),
                    "short",
                ),
            ),
            colours={"answered": WORDS["connected"], "voicemail": WORDS["voicemail"], "short": WARNING},
            steps=((None, "transparent"), (0.15, BAD)),
            step="15m",
            highest=1,
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
    )


def _talk() -> tuple[Panel, ...]:
    buckets = per_second(f"{TALK}_bucket")
    latency = "unpod_call_llm_latency_seconds"
    return (
        spread(
            "Duration of calls",
            "How many calls lasted how long, of those with a known duration. Two bands are two kinds of talks: those "
            "who hang up, and those who listen.",
            "s",
            growth(f"{TALK}_bucket", window="$__rate_interval"),
        ),
        lines(
            "Duration: median, nine of ten, mean",
            "Half of the calls are shorter than the median, nine of ten shorter than p90.",
            "s",
            (
                Query(quantile(0.5, buckets), "median"),
                Query(quantile(0.9, buckets), "p90"),
                Query(share(total(per_second(f"{TALK}_sum")), total(per_second(f"{TALK}_count"))), "mean"),
            ),
            colours={"median": PLAIN, "p90": WARNING, "mean": SOFT},
            step="15m",
        ),
        lines(
            "LLM latency",
            "How long the LLM takes to answer on average, of the calls for which the platform tells it. From about a "
            "second on people begin to speak into the pause (dashed).",
            "s",
            (Query(share(total(per_second(f"{latency}_sum")), total(per_second(f"{latency}_count"))), "mean"),),
            colours={"mean": SOFT},
            steps=((None, "transparent"), (1.0, BAD)),
            step="15m",
        ),
    )


def _failures() -> tuple[Panel, ...]:
    return (
        ranking(
            "Why tasks fail",
            "Entries of tasks into the status failed in the chosen time, by the group of their reason.",
            "short",
            Query(f"{total(growth('unpod_task_failure_reasons_total'), 'reason')} > 0", "{{reason}}"),
            colours=of_words(vocabulary.FAILURE_REASONS),
            decimals=0,
            absent="No task failed",
        ),
        ranking(
            "End codes",
            "The provider's own end reasons in the chosen time, the ten most frequent. Beyond the first ones of an "
            "agent (metrics.end_codes_limit) they are counted as other.",
            "short",
            Query(f"topk(10, {total(growth('unpod_call_end_codes_total'), 'code')})", "{{code}}"),
            decimals=0,
        ),
        lines(
            "Retries per completed task",
            "How many retries there are for one task that is completed. Where it rises, work goes into people who do "
            "not pick up.",
            "short",
            (
                Query(
                    share(
                        total(per_second("unpod_task_retries_total")),
                        total(per_second(TRANSITIONS, _status("completed"))),
                    ),
                    "retries per completed task",
                ),
            ),
            colours={"retries per completed task": SOFT},
            step="15m",
            decimals=2,
        ),
    )


def _results() -> tuple[Panel, ...]:
    return (
        stacked(
            "Outcomes per hour",
            "What came of calls, from their post-call data. Calls without such data are not here.",
            "suffix: /h",
            (Query(per_hour(OUTCOMES, "outcome"), "{{outcome}}"),),
            colours=of_words(vocabulary.OUTCOMES),
            bars=True,
            width=6,
        ),
        stacked(
            "Sentiments per hour",
            "How people felt, from the post-call data. Calls without such data are not here.",
            "suffix: /h",
            (Query(per_hour("unpod_call_sentiments_total", "sentiment"), "{{sentiment}}"),),
            colours=of_words(vocabulary.SENTIMENTS),
            bars=True,
            width=6,
        ),
        lines(
            "Recorded and silent calls",
            "Recorded: calls with a recording, for one connected call (above 100 % where voicemails are recorded too); "
            "where recordings are a duty, this must not fall. Silent: share of all ended calls in which the other "
            "side said nothing.",
            "percentunit",
            (
                Query(
                    share(total(per_second("unpod_calls_recorded_total")), total(per_second(ENDED, ANSWERED))),
                    "recorded",
                ),
                Query(share(total(per_second("unpod_calls_silent_total")), total(per_second(ENDED))), "silent"),
            ),
            colours={"recorded": GOOD, "silent": WARNING},
            step="15m",
            width=6,
        ),
        lines(
            "Cost of a call and of an interested person",
            "What a call costs on average, and what it costs to reach somebody who is interested: the figure that says "
            "whether it pays.",
            "currencyUSD",
            (
                Query(share(total(per_second(COST)), total(per_second(ENDED))), "per call"),
                Query(share(total(per_second(COST)), total(per_second(OUTCOMES, INTERESTED))), "per interested person"),
            ),
            colours={"per call": PLAIN, "per interested person": WORDS["interested"]},
            step="15m",
            width=6,
            decimals=2,
        ),
    )
