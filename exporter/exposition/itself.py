"""The metric families about the exporter itself, which it counts while it runs: the part of the catalog of which no
report holds anything."""

from __future__ import annotations

from functools import partial
from typing import Final

from exporter.exposition.family import Family, Kind, Label, Scope

ENDPOINT: Final = Label("endpoint", ("tasks", "agents"))
REPLICA: Final = Label("replica_name")
API_CODE: Final = Label("code", always=("200",))

_family: Final = partial(Family, scope=Scope.PROCESS)

FAMILIES: Final = (
    _family(
        name="unpod_exporter_build_info",
        kind=Kind.GAUGE,
        help="1, with the versions of the exporter and of its Python",
        labels=(Label("version"), Label("python_version")),
    ),
    _family(
        name="unpod_exporter_config_last_reload_successful",
        kind=Kind.GAUGE,
        help="1 if the configuration was good when it was last read",
    ),
    _family(
        name="unpod_exporter_config_last_reload_success_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When a good configuration was last read, as a Unix timestamp",
    ),
    _family(
        name="unpod_exporter_shard_info",
        kind=Kind.GAUGE,
        help="1, with which shard of how many this exporter is",
        labels=(Label("shard_index"), Label("shard_count")),
    ),
    _family(
        name="unpod_exporter_replica_info",
        kind=Kind.GAUGE,
        help="1, with what this exporter is called among those that share the agents; not shown where it is alone",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_replicas",
        kind=Kind.GAUGE,
        help="Exporters that share the agents and are alive, as far as this one knows",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_leases_held",
        kind=Kind.GAUGE,
        help="Agents that this exporter holds: it alone polls, counts and shows them",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_leases_free",
        kind=Kind.GAUGE,
        help="Agents that no exporter holds, as far as this one knows",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_leases_lost_total",
        kind=Kind.COUNTER,
        help="Agents that others took over, since this exporter could not renew its leases in time",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_leases_last_renewal_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When this exporter last renewed its leases, as a Unix timestamp; before that, when it started",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_api_requests_share_per_minute",
        kind=Kind.GAUGE,
        help="How many requests within a minute this exporter may begin, of those that all together may",
        labels=(REPLICA,),
    ),
    _family(
        name="unpod_exporter_agents_skipped",
        kind=Kind.GAUGE,
        help="Entries of the last list of agents that were skipped, since their handle is empty or occurs before",
    ),
    _family(
        name="unpod_exporter_schedule_lag_seconds",
        kind=Kind.GAUGE,
        help="By how much polls of an agent are farther apart than configured, at worst, as requests_per_minute does "
        "not suffice for all agents, or as its polls take too long; 0: of none",
    ),
    _family(
        name="unpod_exporter_api_requests_total",
        kind=Kind.COUNTER,
        help="Requests to the platform, by HTTP status, or by the reason why there was none",
        labels=(ENDPOINT, API_CODE),
    ),
    _family(
        name="unpod_exporter_api_request_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="How long requests to the platform took, until the last byte or the failure",
        labels=(ENDPOINT,),
        buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40),
    ),
    _family(
        name="unpod_exporter_api_response_bytes_total",
        kind=Kind.COUNTER,
        help="Bytes of the platform's answers that were received",
    ),
    _family(
        name="unpod_exporter_api_throttle_wait_seconds_total",
        kind=Kind.COUNTER,
        help="How long requests waited for the rate limit, their own and the platform's",
    ),
    _family(
        name="unpod_exporter_state_commit_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="How long it took to commit the state of a poll",
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    ),
    _family(
        name="unpod_exporter_state_size_bytes",
        kind=Kind.GAUGE,
        help="Size of the state on disk; 0 where it is kept in memory",
    ),
    _family(
        name="unpod_exporter_state_created_timestamp_seconds",
        kind=Kind.GAUGE,
        help="When the state in use was begun, as a Unix timestamp: it changes when the state was lost",
    ),
    _family(
        name="unpod_exporter_state_set_aside_files",
        kind=Kind.GAUGE,
        help="State files, damaged or not ours, that were set aside and lie there until somebody takes them away",
    ),
    _family(
        name="unpod_exporter_state_commit_failures_total",
        kind=Kind.COUNTER,
        help="Commits that the disk did not take, as when it is full, or whose file was deleted; nothing is lost by it",
    ),
    _family(
        name="unpod_exporter_state_uncommitted_tasks",
        kind=Kind.GAUGE,
        help="Tasks of which the latest is known in memory only, since the state cannot be written",
    ),
    _family(
        name="unpod_exporter_web_certificate_not_after_timestamp_seconds",
        kind=Kind.GAUGE,
        help="Until when the certificate that the exporter shows, or the chain with it, is valid, as a Unix timestamp; "
        "not there without TLS",
        zeroed=False,
    ),
    _family(
        name="unpod_exporter_scrape_render_duration_seconds",
        kind=Kind.GAUGE,
        help="How long it took to write the answer of the scrape before this one; 0 at the first",
    ),
)
