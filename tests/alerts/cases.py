"""For each alert a case in which it fires and one in which it stays silent, and the edges of all of them."""

from __future__ import annotations

from tests.alerts.promtool import Case, Fires, Series, exporter, of, polled, selector

SALES = {"job": "unpod", "agent": "sales"}
A = {"job": "unpod", "instance": "a"}
DAY = 24 * 4
"""Steps of a quarter of an hour in a day."""


def _exporter(name: str, values: str, **labels: str) -> dict[str, str]:
    return {selector(f"unpod_exporter_{name}", job="unpod", instance="a", **labels): values}


def _transitions(completed: str, failed: str, **more: str) -> Series:
    values = {"completed": completed, "failed": failed, **more}
    return of(task_transitions_total={f"execution_type=call,status={status}": text for status, text in values.items()})


def _calls(agent: str = "sales", instance: str = "a", **values: str) -> Series:
    return of(
        agent,
        instance,
        calls_total={f"direction=outbound,call_status={status}": text for status, text in values.items()},
    )


def _waiting(pending: str, overdue: str, *, kind: str = "call", started: str = "7x240") -> Series:
    return of(
        tasks={f"execution_type={kind},status=pending": pending},
        tasks_overdue={f"execution_type={kind}": overdue},
        task_transitions_total={f"execution_type={kind},status=processing": started},
    )


def _durations(short: str, count: str, seconds: str) -> Series:
    return of(
        call_duration_seconds_bucket={"direction=outbound,le=10.0": short, "direction=outbound,le=+Inf": count},
        call_duration_seconds_count={"direction=outbound": count},
        call_duration_seconds_sum={"direction=outbound": seconds},
    )


EXPORTER = (
    Case(
        "absent: no target is an exporter",
        {},
        "15m",
        [
            Fires(
                "UnpodExporterAbsent",
                {},
                "No target has shown the metrics of an Unpod exporter for 10 minutes, and none is known that is down: "
                "nobody watches the agents.",
            )
        ],
    ),
    Case("an exporter without agents is present and well", exporter(60), "30m"),
    Case(
        "down: the only replica",
        exporter(60, up="1x10 0x50"),
        "30m",
        [
            Fires(
                "UnpodExporterDown",
                {"job": "unpod", "shard_index": "0"},
                "Prometheus cannot scrape any replica of shard 0 of job unpod. Its agents are not watched; what "
                "happens meanwhile is counted when it is back.",
            )
        ],
    ),
    Case(
        "down: one that has never been up, by the name of its job",
        {**exporter(60, instance="b"), selector("up", job="unpod-eu", instance="a"): "0x60"},
        "30m",
        [
            Fires(
                "UnpodExporterDown",
                {"job": "unpod-eu", "instance": "a"},
                "Prometheus cannot scrape a of job unpod-eu. Its agents are not watched; what happens meanwhile is "
                "counted when it is back.",
            )
        ],
    ),
    Case(
        "down: one of two shards, whose agents are shown by nobody",
        {
            **exporter(60, instance="a", shard="0", of="2"),
            **exporter(60, instance="b", shard="1", of="2", up="1x10 0x50"),
            **polled(60, "sales", instance="a"),
            **polled(60, "support", instance="b", up="1x10 stale"),
        },
        "25m",
        [
            Fires("UnpodExporterDown", {"job": "unpod", "shard_index": "1"}),
            Fires(
                "UnpodAgentUnseen",
                {"job": "unpod", "agent": "support"},
                "support was shown within the last hour, and is shown by nobody now: its exporter is down, or it has "
                "left the list of agents or the configuration, in which case this ends by itself within an hour.",
            ),
        ],
    ),
    Case(
        "a target of somebody else is none of ours",
        {**exporter(60), selector("up", job="node", instance="a"): "0x60"},
        "30m",
    ),
    Case(
        "down: one of two replicas of the same agents is no loss of numbers",
        {
            **exporter(60, instance="a"),
            **exporter(60, instance="b", up="1x10 0x50"),
            **polled(60, instance="a"),
            **polled(60, instance="b", up="1x10 stale"),
        },
        "30m",
        [
            Fires(
                "UnpodExporterReplicaDown",
                {"job": "unpod", "instance": "b"},
                "Prometheus cannot scrape b of job unpod. Another replica shows the same agents, so that no number is "
                "missing yet.",
            )
        ],
    ),
    Case("a restart of two minutes is nobody's business", exporter(60, up="1x10 0 0 1x50"), "13m"),
    Case(
        "a replica without its database for minutes",
        {
            **exporter(60),
            selector("unpod_exporter_leases_last_renewal_timestamp_seconds", job="unpod", instance="a"): (
                "0+60x10 600x50"
            ),
        },
        "15m",
        [
            Fires(
                "UnpodReplicaWithoutDatabase",
                {"job": "unpod", "instance": "a"},
                "a has not reached the database of the replicas for 5m 0s. It shows no agent; those that it held are "
                "shown by others if they reach the database.",
            )
        ],
    ),
    Case(
        "a replica that was without its database for a minute",
        {
            **exporter(60),
            selector("unpod_exporter_leases_last_renewal_timestamp_seconds", job="unpod", instance="a"): (
                "0+60x10 600 600 780+60x40"
            ),
        },
        "14m",
    ),
    Case(
        "agents that no replica takes, in the eyes of all",
        {
            **exporter(60),
            **exporter(60, instance="b"),
            selector("unpod_exporter_leases_free", job="unpod", instance="a", replica_name="a"): "0x5 2x55",
            selector("unpod_exporter_leases_free", job="unpod", instance="b", replica_name="b"): "0x5 3x55",
        },
        "15m",
        [
            Fires(
                "UnpodAgentsHeldByNobody",
                {"job": "unpod"},
                "No replica of job unpod polls 2 agents: nobody watches them. What happens meanwhile is counted when "
                "somebody does.",
            )
        ],
    ),
    Case(
        "agents that nobody takes in the eyes of one replica that knows no better",
        {
            **exporter(60),
            **exporter(60, instance="b"),
            selector("unpod_exporter_leases_free", job="unpod", instance="a", replica_name="a"): "2x60",
            selector("unpod_exporter_leases_free", job="unpod", instance="b", replica_name="b"): "0x60",
        },
        "15m",
    ),
    Case("two replicas that are up", {**exporter(60), **exporter(60, instance="b")}, "30m"),
    Case(
        "a configuration that was refused",
        {**exporter(60), **_exporter("config_last_reload_successful", "1x10 0x50")},
        "20m",
        [
            Fires(
                "UnpodConfigReloadFailed",
                A,
                "a refused its configuration when it was last told to read it. The one before is still in force; a "
                "restart would fail.",
            )
        ],
    ),
    Case(
        "a configuration that was refused and then mended",
        {**exporter(60), **_exporter("config_last_reload_successful", "1x10 0x3 1x50")},
        "20m",
    ),
    Case(
        "a certificate that expires in ten days",
        {**exporter(60), **_exporter("web_certificate_not_after_timestamp_seconds", "864000x60")},
        "30m",
        [
            Fires(
                "UnpodCertificateExpires",
                A,
                "The certificate of a expires in 9d 23h 30m 0s. After that Prometheus cannot scrape it where it checks "
                "certificates.",
            )
        ],
    ),
    Case(
        "a certificate that has expired",
        {**exporter(60), **_exporter("web_certificate_not_after_timestamp_seconds", "60x60")},
        "30m",
        [
            Fires(
                "UnpodCertificateExpires",
                A,
                "The certificate of a has expired: Prometheus cannot scrape it where it checks certificates.",
            )
        ],
    ),
    Case(
        "a certificate that is valid for three weeks",
        {**exporter(60), **_exporter("web_certificate_not_after_timestamp_seconds", "1814400x60")},
        "30m",
    ),
    Case(
        "commits fail",
        {**exporter(60), **_exporter("state_commit_failures_total", "0x10 0+1x50")},
        "40m",
        [
            Fires(
                "UnpodStateCommitFailing",
                A,
                "a failed 15 times within 15 minutes to commit its state. What it has counted meanwhile is in memory "
                "only: if it is killed now, the counters go back.",
            )
        ],
    ),
    Case(
        "commits failed long ago, and a restart has taken the counter back",
        {**exporter(120), **_exporter("state_commit_failures_total", "0+1x10 10x60 0x50")},
        "100m",
    ),
    Case(
        "a damaged state was set aside",
        {**exporter(60), **_exporter("state_set_aside_files", "1x60")},
        "5m",
        [
            Fires(
                "UnpodStateSetAside",
                A,
                "1 damaged state file lies beside the state of a and waits for a person. The exporter goes on with a "
                "new state: see what that did to the counters.",
            )
        ],
    ),
    Case("no state was set aside", {**exporter(60), **_exporter("state_set_aside_files", "0x60")}, "30m"),
    Case(
        "a new state was begun",
        {
            **exporter(60),
            **_exporter("state_created_timestamp_seconds", "100x20 1200x40"),
            **_exporter("state_size_bytes", "4096x60"),
        },
        "30m",
        [
            Fires(
                "UnpodStateReplaced",
                A,
                "a has begun a new state within the last hour. Rates and increases around that moment, and alerts that "
                "are made of them, may be wrong.",
            )
        ],
    ),
    Case(
        "a state in memory is new after each restart, which is no news",
        {
            **exporter(60),
            **_exporter("state_created_timestamp_seconds", "100x20 1200x40"),
            **_exporter("state_size_bytes", "0x60"),
        },
        "30m",
    ),
    Case(
        "polls are stretched",
        {**exporter(60), **_exporter("schedule_lag_seconds", "90x60")},
        "20m",
        [
            Fires(
                "UnpodScheduleLag",
                A,
                "a polls agents up to 1m 30s later than it was told, each time: the requests that it may make do not "
                "suffice for all of them, or their polls take too long. Its log says which.",
            )
        ],
    ),
    Case(
        "polls are stretched for a moment",
        {**exporter(60), **_exporter("schedule_lag_seconds", "0x10 90x5 0x45")},
        "14m",
    ),
    Case(
        "entries of the list are skipped",
        {**exporter(60), **_exporter("agents_skipped", "2x60")},
        "20m",
        [
            Fires(
                "UnpodAgentsSkipped",
                A,
                "a has skipped 2 entries of the platform's list of agents: without a handle, or with one that occurs "
                "before.",
            )
        ],
    ),
    Case("no entry is skipped", {**exporter(60), **_exporter("agents_skipped", "0x60")}, "20m"),
    Case(
        "the platform has learned a word",
        {
            **exporter(120),
            **polled(120),
            **_exporter("unknown_values_total", "900x60 900+1x60", field="call_status"),
        },
        "110m",
        [
            Fires(
                "UnpodUnknownValues",
                {"job": "unpod", "field": "call_status"},
                "49 values of call_status within 6 hours fit nothing known, and were counted as other or unknown.",
            )
        ],
    ),
    Case(
        "the past of an agent that was found today is no growth of unknown values",
        {
            **exporter(120),
            **polled(120),
            **of("support", agent_history_complete="0x60 1x60", agent_history_read_ratio="0x60 1x60"),
            **_exporter("unknown_values_total", "900x60 1400x60", field="call_status"),
        },
        "110m",
    ),
)

DATA = (
    Case(
        "the platform answers nobody",
        {
            **exporter(120),
            **polled(120, "sales", "support", up="1x60 0x60"),
            **{
                selector("unpod_agent_poll_failures_total", **A, agent=agent, reason="server_error"): "3x60 3+0.2x60"
                for agent in ("sales", "support")
            },
            **of("locked", agent_up="0x120", agent_history_complete="0x120", agent_history_read_ratio="0x120"),
            **of("locked", agent_poll_failures_total={"reason=no_access": "0+0.2x120"}),
        },
        "75m",
        [
            Fires(
                "UnpodApiDown",
                {"job": "unpod"},
                "No poll of any of the 2 agents of job unpod succeeds: the platform answers with errors, too late, or "
                "not at all.",
            ),
            Fires("UnpodAgentDown", {"job": "unpod", "agent": "locked"}),
            Fires("UnpodAgentNoAccess", {"job": "unpod", "agent": "locked"}),
        ],
    ),
    Case(
        "the platform answers all agents but one",
        {
            **exporter(120),
            **polled(120, "support"),
            **polled(120, "sales", up="1x60 0x60"),
            **of(agent_poll_failures_total={"reason=timeout": "3x60 3+0.2x60"}),
        },
        "85m",
        [
            Fires(
                "UnpodAgentDown",
                SALES,
                "The polls of sales have been failing for 15 minutes. Its counters stand still, and its gauges have "
                "vanished or will.",
            )
        ],
    ),
    Case(
        "an agent goes on being down while its exporter is",
        {
            **exporter(120, up="1x90 0x30"),
            **polled(90, "sales", up="1x60 0x30 stale"),
            **of(agent_poll_failures_total={"reason=not_found": "3x60 3+0.2x30 stale"}),
        },
        "103m",
        [
            Fires("UnpodExporterDown", {"job": "unpod", "shard_index": "0"}),
            Fires("UnpodAgentUnseen", SALES),
            Fires("UnpodAgentDown", SALES),
        ],
    ),
    Case("an agent that fails now and then", {**exporter(120), **polled(120, up="1x60 0 0 1 0 1x60")}, "65m"),
    Case("an agent that was taken away is forgotten", {**exporter(240), **polled(240, up="1x60 stale")}, "125m"),
    Case(
        "the token is rejected, of which the first answer shows a new series",
        {
            **exporter(120),
            **_exporter("api_requests_total", "_x60 1x120", endpoint="tasks", code="401"),
            **_exporter("api_requests_total", "0+1x180", endpoint="tasks", code="200"),
        },
        "63m",
        [
            Fires(
                "UnpodTokenRejected",
                {"job": "unpod"},
                "The platform has rejected 1 requests of job unpod within 15 minutes with 401 or 403. No retry heals "
                "that: the token has to be replaced, or its rights.",
            )
        ],
    ),
    Case(
        "the token was rejected an hour ago",
        {**exporter(120), **_exporter("api_requests_total", "1+1x10 11x110", endpoint="tasks", code="401")},
        "90m",
    ),
    Case(
        "the token may not read one agent",
        {
            **exporter(60),
            **polled(60, "support"),
            **polled(60, "sales", up="0x60"),
            **of(agent_poll_failures_total={"reason=no_access": "1+0.2x60"}),
        },
        "14m",
        [
            Fires(
                "UnpodAgentNoAccess",
                SALES,
                "The platform answers 206 for the tasks of sales: the token has no access to the agent's space, or the "
                "platform refuses by its business logic.",
            )
        ],
    ),
    Case(
        "an agent that answered 206 and is read again",
        {
            **exporter(60),
            **polled(60, up="0x10 1x50"),
            **of(agent_poll_failures_total={"reason=no_access": "1+0.2x10 3x50"}),
        },
        "14m",
    ),
    Case(
        "the platform says 429",
        {**exporter(60), **_exporter("api_requests_total", "0+2x60", endpoint="tasks", code="429")},
        "30m",
        [
            Fires(
                "UnpodRateLimited",
                A,
                "The platform has answered 30 requests of a within 15 minutes with 429. Polls wait, and numbers come "
                "later.",
            )
        ],
    ),
    Case(
        "the platform says 429 now and then",
        {**exporter(60), **_exporter("api_requests_total", "0+0.1x60", endpoint="tasks", code="429")},
        "30m",
    ),
    Case(
        "requests fail",
        {
            **exporter(60),
            **_exporter("api_requests_total", "0+9x60", endpoint="tasks", code="200"),
            **_exporter("api_requests_total", "0+1x60", endpoint="tasks", code="502"),
        },
        "45m",
        [
            Fires(
                "UnpodApiErrors",
                A,
                "10% of the requests of a within 30 minutes were answered with an error, too late, or not at all.",
            )
        ],
    ),
    Case(
        "few requests, of which one failed",
        {
            **exporter(60),
            **_exporter("api_requests_total", "0+0.3x60", endpoint="tasks", code="200"),
            **_exporter("api_requests_total", "0x20 1x40", endpoint="tasks", code="timeout"),
        },
        "45m",
    ),
    Case(
        "no success for long, and no failure either: the loop hangs",
        {
            **exporter(120),
            **polled(120),
            selector("unpod_agent_last_success_timestamp_seconds", **A, agent="sales"): "0+60x60 3600x60",
        },
        "85m",
        [Fires("UnpodDataStale", SALES, "The last successful poll of sales ended 25m 0s ago.")],
    ),
    Case(
        "two replicas, of which one lags",
        {
            **exporter(120),
            **exporter(120, instance="b"),
            **polled(120),
            **polled(120, instance="b"),
            selector("unpod_agent_last_success_timestamp_seconds", job="unpod", instance="b", agent="sales"): "60x120",
        },
        "85m",
    ),
    Case(
        "an agent that is polled every hour, with a threshold of its own",
        {
            **exporter(240),
            **polled(240),
            selector("unpod_agent_last_success_timestamp_seconds", **A, agent="sales"): "60x60 3660x60 7260x60",
        },
        "110m",
        rules=[{"record": "unpod:threshold:stale_seconds", "expr": "4 * 3600", "labels": {"agent": "sales"}}],
    ),
    Case(
        "tasks that cannot be read",
        {**exporter(60), **polled(60), **of(tasks_unreadable="3x60")},
        "20m",
        [
            Fires(
                "UnpodTasksUnreadable",
                SALES,
                "The platform answers 500 wherever 3 tasks of sales would be: no number of ours holds them.",
            )
        ],
    ),
    Case("tasks that can all be read", {**exporter(60), **polled(60), **of(tasks_unreadable="0x60")}, "20m"),
    Case(
        "a history that does not come to its end, over a restart",
        {
            **exporter(96, up="1x40 0 0 1x50"),
            **of(agent_history_complete="0x40 stale _ 0x50", agent_history_read_ratio="0.25x40 stale _ 0.25x50"),
        },
        "400m",
        [
            Fires(
                "UnpodHistoryIncomplete",
                SALES,
                "After 6 hours 25% of the history of sales have been read. Until it is complete, no tasks and calls of "
                "the agent are shown.",
            )
        ],
        step="5m",
    ),
    Case(
        "a history that is read in five hours",
        {**exporter(96), **of(agent_history_complete="0x60 1x36", agent_history_read_ratio="0x60 1x36")},
        "400m",
        step="5m",
    ),
)

WORK = (
    Case(
        "dead: calls are waiting, and none ends",
        {
            **exporter(240),
            **polled(240),
            **_waiting("8x240", "0x240", started="0+1x240"),
            **of(last_call_end_timestamp_seconds="600x240"),
        },
        "120m",
        [
            Fires(
                "UnpodNoCallsEnded",
                SALES,
                "The last call of sales ended 1h 50m 0s ago, while calls were waiting all the time. An idle agent has "
                "none waiting.",
            )
        ],
    ),
    Case(
        "idle: an idle night, nothing is waiting, and no call ends",
        {
            **exporter(144),
            **polled(144, step=300),
            **_waiting("0x144", "0x144", started="9x144"),
            **of(last_call_end_timestamp_seconds="60x144"),
        },
        "700m",
        step="5m",
    ),
    Case(
        "the morning after: a bulk run begins, and the last call ended yesterday",
        {
            **exporter(144),
            **polled(144, step=300),
            **_waiting("0x120 500x24", "0x144", started="9x120 9+10x24"),
            **of(last_call_end_timestamp_seconds="60x144"),
        },
        "640m",
        step="5m",
    ),
    Case(
        "mail that waits is no call that waits",
        {
            **exporter(240),
            **polled(240),
            **_waiting("500x240", "0x240", kind="email", started="9+1x240"),
            **of(tasks={"execution_type=call,status=pending": "0x240"}, tasks_overdue={"execution_type=call": "0x240"}),
            **of(last_call_end_timestamp_seconds="60x240"),
        },
        "200m",
    ),
    Case(
        "dead, and then the polls fail: what was true is held",
        {
            **exporter(240),
            **polled(240, up="1x120 0x120"),
            **_waiting("8x120 stale", "0x120 stale", started="0+1x120 120x120"),
            **of(last_call_end_timestamp_seconds="600x120 stale"),
        },
        "200m",
        [Fires("UnpodNoCallsEnded", SALES), Fires("UnpodAgentDown", SALES)],
    ),
    Case(
        "alive, and then the polls fail: silence that nobody can see is no death",
        {
            **exporter(240),
            **polled(240, up="1x120 0x120"),
            **_waiting("8x120 stale", "0x120 stale", started="0+1x120 120x120"),
            **of(last_call_end_timestamp_seconds="0+60x120 stale"),
        },
        "235m",
        [Fires("UnpodAgentDown", SALES)],
    ),
    Case(
        "a backlog of which nothing is started",
        {**exporter(120), **polled(120), **_waiting("12x60 30x60", "0x120")},
        "70m",
        [
            Fires(
                "UnpodBacklogGrowing",
                SALES,
                "30 tasks of sales wait, no fewer than half an hour ago, and none has been started meanwhile.",
            )
        ],
    ),
    Case(
        "a large backlog that is being worked off",
        {**exporter(120), **polled(120), **_waiting("500x120", "0x120", started="0+1x120")},
        "70m",
    ),
    Case(
        "tasks are overdue, of one agent among many",
        {
            **exporter(60),
            **polled(60, "sales", "support", "mail"),
            **of("sales", tasks_overdue={"execution_type=call": "4x60", "execution_type=email": "4x60"}),
            **of("support", tasks_overdue={"execution_type=call": "3x60"}),
            **of("mail", tasks_overdue={"execution_type=call": "0x60"}),
        },
        "30m",
        [Fires("UnpodTasksOverdue", SALES, "8 tasks of sales still wait although their time has come.")],
    ),
    Case(
        "tasks are overdue, as two replicas show them: no more than either",
        {
            **exporter(60),
            **exporter(60, instance="b"),
            **polled(60),
            **polled(60, instance="b"),
            **of(tasks_overdue={"execution_type=call": "4x60"}),
            **of(instance="b", tasks_overdue={"execution_type=call": "4x60"}),
        },
        "30m",
    ),
    Case(
        "tasks are overdue, with a threshold of the agent's own",
        {
            **exporter(60),
            **polled(60, "sales", "support"),
            **of("sales", tasks_overdue={"execution_type=call": "40x60"}),
            **of("support", tasks_overdue={"execution_type=call": "40x60"}),
        },
        "30m",
        [Fires("UnpodTasksOverdue", {"job": "unpod", "agent": "support"})],
        rules=[{"record": "unpod:threshold:overdue_tasks", "expr": "50", "labels": {"agent": "sales"}}],
    ),
    Case(
        "tasks are overdue, then the polls fail, then the exporter goes: it does not resolve by absence",
        {
            **exporter(180, up="1x100 0x80"),
            **polled(180, up="1x60 0x40 stale"),
            **of(agent_last_success_timestamp_seconds="0+60x60 3600x40 stale"),
            **of(tasks_overdue={"execution_type=call": "9x75 stale"}),
        },
        "150m",
        [
            Fires("UnpodTasksOverdue", SALES),
            Fires("UnpodAgentDown", SALES),
            Fires("UnpodAgentUnseen", SALES),
            Fires("UnpodDataStale", SALES),
            Fires("UnpodExporterDown", {"job": "unpod", "shard_index": "0"}),
        ],
    ),
    Case(
        "tasks are overdue no more, as the first poll after a pause tells",
        {
            **exporter(180),
            **polled(180, up="1x60 0x40 1x80"),
            **of(tasks_overdue={"execution_type=call": "9x75 _x25 0x80"}),
        },
        "102m",
    ),
    Case(
        "a task is stuck",
        {
            **exporter(240),
            **polled(240),
            **of(oldest_open_task_timestamp_seconds={"status=in_progress": "60x240", "status=pending": "60x240"}),
        },
        "150m",
        [
            Fires(
                "UnpodTaskStuck",
                {**SALES, "status": "in_progress"},
                "A task of sales has been in_progress for 2h 29m 0s. Tasks whose worker died stay so for ever.",
            )
        ],
    ),
    Case(
        "a task was under way when the polls began to fail: nobody knows that it is stuck",
        {
            **exporter(300),
            **polled(300, up="1x30 0x270"),
            **of(oldest_open_task_timestamp_seconds={"status=in_progress": "60x45 stale"}),
        },
        "250m",
        [Fires("UnpodAgentDown", SALES)],
    ),
    Case(
        "most attempts end in a retry",
        {
            **exporter(120),
            **polled(120),
            **of(task_retries_total={"execution_type=call": "500+0.6x120"}),
            **_calls(not_connected="900+1x120"),
        },
        "100m",
        [
            Fires(
                "UnpodRetryStorm",
                SALES,
                "There were 0.60 retries for each ended call of sales within an hour.",
            )
        ],
    ),
    Case(
        "retries of attempts that never became a call",
        {
            **exporter(120),
            **polled(120),
            **of(task_retries_total={"execution_type=call": "0+1x120"}),
            **_calls(not_connected="900x120"),
        },
        "100m",
        [Fires("UnpodRetryStorm", SALES, "There were +Inf retries for each ended call of sales within an hour.")],
    ),
    Case(
        "a quarter of the calls are retried",
        {
            **exporter(120),
            **polled(120),
            **of(task_retries_total={"execution_type=call": "500+0.5x120"}),
            **_calls(not_connected="900+1x120", completed="900+1x120"),
        },
        "100m",
    ),
)

CALLS = (
    Case(
        "tasks fail fast, and so more than slowly",
        {**exporter(120), **polled(120), **_transitions("900+0.2x120", "50+0.8x120")},
        "100m",
        [
            Fires(
                "UnpodFailuresBurnFast",
                SALES,
                "80% of the tasks of sales that ended within an hour have failed, and they go on failing. At this "
                "pace the month's budget of failures is gone within days.",
            ),
            Fires("UnpodFailuresBurnSlow", SALES),
        ],
    ),
    Case(
        "tasks failed fast, and do so no more",
        {**exporter(120), **polled(120), **_transitions("900+1x120", "50+4x40 210x80")},
        "50m",
        [Fires("UnpodFailuresBurnSlow", SALES)],
    ),
    Case(
        "all of three tasks failed",
        {**exporter(120), **polled(120), **_transitions("900x120", "50x60 51 52 53x60")},
        "66m",
    ),
    Case(
        "the whole past of an agent is born with its first poll, failures and all",
        {
            **exporter(120),
            **polled(120, up="_x60 1x60"),
            **_transitions("_x60 100x60", "_x60 9000x60"),
            **of(call_cost_dollars_total="_x60 700x60"),
            **_calls(failed="_x60 9000x60"),
            **of(
                call_end_reasons_total={
                    "end_reason=llm_error": "_x60 9000x60",
                    "end_reason=customer_ended": "_x60 1x60",
                }
            ),
        },
        "90m",
    ),
    Case(
        "tasks fail slowly",
        {**exporter(120), **polled(120), **_transitions("900+0.8x120", "50+0.2x120")},
        "100m",
        [
            Fires(
                "UnpodFailuresBurnSlow",
                SALES,
                "20% of the tasks of sales that ended within 6 hours have failed, and they go on failing.",
            )
        ],
    ),
    Case(
        "tasks fail as the budget allows",
        {**exporter(120), **polled(120), **_transitions("900+0.9x120", "50+0.1x120")},
        "100m",
    ),
    Case(
        "tasks fail fast, then the polls fail: the alert stays",
        {
            **exporter(240),
            **polled(240, up="1x60 0x180"),
            **_transitions("0+0.2x60 12x180", "0+0.8x60 48x180"),
        },
        "200m",
        [
            Fires("UnpodFailuresBurnFast", SALES),
            Fires("UnpodFailuresBurnSlow", SALES),
            Fires("UnpodAgentDown", SALES),
        ],
    ),
    Case(
        "calls end by errors of one component",
        {
            **exporter(120),
            **polled(120),
            **_calls(failed="0+0.1x120", completed="0+0.9x120"),
            **of(
                call_end_reasons_total={
                    "end_reason=llm_error": "0+0.08x120",
                    "end_reason=tts_error": "0+0.02x120",
                    "end_reason=customer_ended": "0+0.9x120",
                }
            ),
        },
        "100m",
        [
            Fires(
                "UnpodPipelineErrors",
                {**SALES, "end_reason": "llm_error"},
                "8% of the calls of sales within an hour ended by llm_error.",
            )
        ],
    ),
    Case(
        "a single error among four calls",
        {
            **exporter(120),
            **polled(120),
            **_calls(failed="0x70 1x50", completed="0+0.05x120"),
            **of(
                call_end_reasons_total={"end_reason=llm_error": "0x70 1x50", "end_reason=customer_ended": "0+0.05x120"}
            ),
        },
        "100m",
    ),
    Case(
        "far fewer people answer than in this hour of the days before",
        {
            **exporter(2 * DAY),
            **polled(2 * DAY, step=900),
            **_calls(completed=f"0+12x{DAY} 1152+4x{DAY}", not_connected=f"0+8x{DAY} 768+16x{DAY}"),
        },
        "27h",
        [
            Fires(
                "UnpodAnswerRateLow",
                SALES,
                "20% of the outbound calls of sales within an hour were answered, far below the same hour of the days "
                "before.",
            )
        ],
        step="15m",
    ),
    Case(
        "fewer people answer, as they did in this hour of the days before, though not in others",
        {
            **exporter(2 * DAY),
            **polled(2 * DAY, step=900),
            **_calls(
                completed="0+12x80 960+4x16 1024+12x80 1984+4x16",
                not_connected="0+8x80 640+16x16 896+8x80 1536+16x16",
            ),
        },
        "47h",
        step="15m",
    ),
    Case(
        "fewer people answer than yesterday, of whom there is no other day to tell",
        {**exporter(DAY), **polled(DAY, step=900), **_calls(completed=f"0+1x{DAY}", not_connected=f"0+30x{DAY}")},
        "20h",
        step="15m",
    ),
    Case(
        "calls end at once",
        {**exporter(120), **polled(120), **_durations("0+0.2x120", "0+1x120", "0+40x120")},
        "100m",
        [
            Fires(
                "UnpodShortCalls",
                SALES,
                "20% of the calls of sales within an hour lasted less than 10 seconds.",
            )
        ],
    ),
    Case(
        "a few calls end at once",
        {**exporter(120), **polled(120), **_durations("0+0.1x120", "0+1x120", "0+40x120")},
        "100m",
    ),
    Case(
        "machines answer",
        {
            **exporter(120),
            **polled(120),
            **_calls(voicemail="0+0.4x120", completed="0+0.4x120", not_connected="0+0.2x120"),
        },
        "100m",
        [
            Fires(
                "UnpodVoicemailShare",
                SALES,
                "40% of the outbound calls of sales within an hour reached voicemail.",
            )
        ],
    ),
    Case(
        "two replicas show the same machines, which are no more than either saw",
        {
            **exporter(120),
            **exporter(120, instance="b"),
            **polled(120),
            **polled(120, instance="b"),
            **_calls(voicemail="0+0.1x120", completed="0+0.2x120"),
            **_calls(instance="b", voicemail="0+0.1x120", completed="0+0.2x120"),
        },
        "100m",
    ),
    Case(
        "nobody speaks",
        {
            **exporter(120),
            **polled(120),
            **_calls(completed="0+1x120"),
            **of(calls_silent_total="0+0.3x120"),
            **of(calls_recorded_total="0+1x120"),
        },
        "100m",
        [
            Fires(
                "UnpodSilentCalls",
                SALES,
                "In 30% of the connected calls of sales within an hour the other side said nothing.",
            )
        ],
    ),
    Case(
        "a few say nothing",
        {
            **exporter(120),
            **polled(120),
            **_calls(completed="0+1x120"),
            **of(calls_silent_total="0+0.1x120"),
            **of(calls_recorded_total="0+1x120"),
        },
        "100m",
    ),
    Case(
        "calls last three times as long as in this hour of the days before",
        {
            **exporter(2 * DAY),
            **polled(2 * DAY, step=900),
            **_durations(f"0x{2 * DAY}", f"0+10x{2 * DAY}", f"0+400x{DAY} 38400+1200x{DAY}"),
        },
        "26h",
        [
            Fires(
                "UnpodDurationAnomaly",
                SALES,
                "The calls of sales within an hour lasted 2m 0s on average, far from the same hour of the days before.",
            )
        ],
        step="15m",
    ),
    Case(
        "calls last a third of what they did",
        {
            **exporter(2 * DAY),
            **polled(2 * DAY, step=900),
            **_durations(f"0x{2 * DAY}", f"0+10x{2 * DAY}", f"0+1200x{DAY} 115200+400x{DAY}"),
        },
        "26h",
        [Fires("UnpodDurationAnomaly", SALES)],
        step="15m",
    ),
    Case(
        "calls last half as long again",
        {
            **exporter(2 * DAY),
            **polled(2 * DAY, step=900),
            **_durations(f"0x{2 * DAY}", f"0+10x{2 * DAY}", f"0+400x{DAY} 38400+600x{DAY}"),
        },
        "26h",
        step="15m",
    ),
    Case(
        "recordings are missing",
        {**exporter(120), **polled(120), **_calls(completed="0+1x120"), **of(calls_recorded_total="0+0.5x120")},
        "100m",
        [
            Fires(
                "UnpodRecordingsMissing",
                SALES,
                "Only 50% of the connected calls of sales within an hour have a recording.",
            )
        ],
    ),
    Case(
        "recordings are missing where none are wanted",
        {**exporter(120), **polled(120), **_calls(completed="0+1x120"), **of(calls_recorded_total="0x120")},
        "100m",
        rules=[{"record": "unpod:threshold:recorded_ratio", "expr": "0", "labels": {"agent": "sales"}}],
    ),
)

MONEY = (
    Case(
        "an hour costs five times as much as any of the week before",
        {
            **exporter(3 * DAY),
            **polled(3 * DAY, step=900),
            **of(call_cost_dollars_total=f"0+1x{2 * DAY} 192+5x{DAY}"),
        },
        "50h",
        [
            Fires(
                "UnpodCostRateHigh",
                SALES,
                "The calls of sales have cost 20.00 US dollars within an hour, far more than in any hour of the week "
                "before.",
            )
        ],
        step="15m",
    ),
    Case(
        "after an outage of a day its cost is counted at once",
        {
            **exporter(3 * DAY),
            **polled(3 * DAY, step=900),
            selector("unpod_agent_last_success_timestamp_seconds", **A, agent="sales"): (
                f"0+900x{DAY} {900 * DAY}x{DAY - 2} {900 * 2 * DAY}+900x{DAY}"
            ),
            selector("unpod_agent_up", **A, agent="sales"): f"1x{DAY} 0x{DAY - 2} 1x{DAY}",
            **of(call_cost_dollars_total=f"0+1x{DAY} {DAY}x{DAY - 2} {2 * DAY}+1x{DAY}"),
        },
        "48h30m",
        step="15m",
    ),
    Case(
        "an hour costs five times as much, which is cents",
        {
            **exporter(3 * DAY),
            **polled(3 * DAY, step=900),
            **of(call_cost_dollars_total=f"0+0.01x{2 * DAY} 1.92+0.05x{DAY}"),
        },
        "50h",
        step="15m",
    ),
)

CASES = (*EXPORTER, *DATA, *WORK, *CALLS, *MONEY)
