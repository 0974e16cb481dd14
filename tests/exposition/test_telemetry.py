"""The exporter's metrics about itself."""

from __future__ import annotations

import platform
import subprocess
import sys

import msgspec
import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.exposition.family import Family, Kind, Scope
from exporter.exposition.lines import Format
from exporter.exposition.telemetry import Telemetry
from exporter.tracking.replicas.member import Standing

SINCE = 1_700_000_000.0


STANDING = Standing(
    replica="pod-0", sure=True, renewed=SINCE, held=7, share=20, alive=3, elsewhere={"x": "pod-1"}, free=("y", "z")
)


def values(telemetry: Telemetry) -> dict[str, float]:
    lines = telemetry.render(Format.TEXT).decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name.removeprefix("unpod_exporter_"): float(value) for name, _, value in pairs}


def test_what_is_known_in_advance_begins_at_0(telemetry: Telemetry) -> None:
    shown = values(telemetry)
    for name in (
        'api_requests_total{endpoint="tasks",code="200"}',
        'api_requests_total{endpoint="agents",code="200"}',
        'api_request_duration_seconds_count{endpoint="tasks"}',
        "api_response_bytes_total",
        "api_throttle_wait_seconds_total",
        "state_commit_duration_seconds_count",
    ):
        assert shown[name] == 0, name


def test_a_request_is_counted_with_its_code_its_time_and_its_bytes(telemetry: Telemetry) -> None:
    telemetry.request("tasks", "200", 0.3, 1000)
    telemetry.request("tasks", "timeout", 40.0, 24)
    shown = values(telemetry)
    assert shown['api_requests_total{endpoint="tasks",code="200"}'] == 1
    assert shown['api_requests_total{endpoint="tasks",code="timeout"}'] == 1
    assert shown['api_requests_total{endpoint="agents",code="200"}'] == 0
    assert shown['api_request_duration_seconds_sum{endpoint="tasks"}'] == 40.3
    assert shown['api_request_duration_seconds_bucket{endpoint="tasks",le="0.5"}'] == 1
    assert shown["api_response_bytes_total"] == 1024


def test_it_is_the_only_shard_unless_told_otherwise(telemetry: Telemetry) -> None:
    assert values(telemetry)['shard_info{shard_index="0",shard_count="1"}'] == 1
    telemetry.is_shard(2, 3)
    shown = {name: value for name, value in values(telemetry).items() if name.startswith("shard_info")}
    assert shown == {'shard_info{shard_index="2",shard_count="3"}': 1}


def test_what_the_list_held_and_how_far_intervals_are_stretched_is_shown(telemetry: Telemetry) -> None:
    assert (values(telemetry)["agents_skipped"], values(telemetry)["schedule_lag_seconds"]) == (0, 0)
    telemetry.listed(2)
    telemetry.schedule(lambda: 37.5)
    assert (values(telemetry)["agents_skipped"], values(telemetry)["schedule_lag_seconds"]) == (2, 37.5)


def test_a_certificate_is_shown_where_there_is_one(telemetry: Telemetry) -> None:
    name = "web_certificate_not_after_timestamp_seconds"
    assert name not in values(telemetry)
    moments = iter([None, 1_800_000_000.0])
    telemetry.certificate(lambda: next(moments))
    assert name not in values(telemetry)
    assert values(telemetry)[name] == 1_800_000_000


def test_waits_commits_sizes_and_scrapes_are_shown(telemetry: Telemetry) -> None:
    telemetry.waited(1.5)
    telemetry.waited(2.0)
    telemetry.committed(0.004)
    telemetry.not_committed()
    sizes, begun = iter([4096, 8192]), iter([123.0, 456.0])
    telemetry.state(lambda: next(sizes), lambda: next(begun), set_aside=lambda: 2, uncommitted=lambda: 7)
    telemetry.rendered(0.25)
    shown = values(telemetry)
    assert shown["api_throttle_wait_seconds_total"] == 3.5
    assert shown['state_commit_duration_seconds_bucket{le="0.005"}'] == 1
    assert shown['state_commit_duration_seconds_bucket{le="0.0025"}'] == 0
    assert shown["state_size_bytes"] == 4096
    assert shown["state_created_timestamp_seconds"] == 123
    assert shown["state_set_aside_files"] == 2
    assert shown["state_commit_failures_total"] == 1
    assert shown["state_uncommitted_tasks"] == 7
    again = values(telemetry)
    assert again["state_size_bytes"] == 8192, "it is asked for at each scrape"
    assert again["state_created_timestamp_seconds"] == 456
    assert shown["scrape_render_duration_seconds"] == 0.25


def test_a_bad_config_leaves_the_time_of_the_last_good_one(telemetry: Telemetry) -> None:
    telemetry.config_loaded(ok=True, at=100.0)
    telemetry.config_loaded(ok=False, at=200.0)
    shown = values(telemetry)
    assert shown["config_last_reload_successful"] == 0
    assert shown["config_last_reload_success_timestamp_seconds"] == 100


def test_the_versions_are_shown(telemetry: Telemetry) -> None:
    name = f'build_info{{version="1.2.3",python_version="{platform.python_version()}"}}'
    assert values(telemetry)[name] == 1


def test_the_process_and_python_are_shown(telemetry: Telemetry) -> None:
    shown = {family.name for family in parse_text(telemetry.render(Format.TEXT).decode())}
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds", "python_info"} <= shown


def test_every_family_of_the_catalog_is_there_as_the_catalog_says(
    telemetry: Telemetry, catalog: tuple[Family, ...]
) -> None:
    telemetry.replica("pod-0", lambda: STANDING)
    text = telemetry.render(Format.TEXT).decode()
    for family in catalog:
        if family.scope is Scope.PROCESS:
            assert f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n" in text


def test_how_it_stands_among_others_is_shown_where_there_can_be_others(telemetry: Telemetry) -> None:
    assert not [name for name in values(telemetry) if "lease" in name or "replica" in name]
    telemetry.replica("pod-0", lambda: STANDING)
    telemetry.leases_lost(2)
    shown = values(telemetry)
    assert {name: shown[f'{name}{{replica_name="pod-0"}}'] for name in ("leases_held", "leases_free", "replicas")} == {
        "leases_held": 7,
        "leases_free": 2,
        "replicas": 3,
    }
    assert shown['leases_lost_total{replica_name="pod-0"}'] == 2
    assert shown['leases_last_renewal_timestamp_seconds{replica_name="pod-0"}'] == SINCE
    assert shown['api_requests_share_per_minute{replica_name="pod-0"}'] == 20


def test_openmetrics_says_since_when_everything_is_counted(telemetry: Telemetry) -> None:
    telemetry.request("tasks", "500", 1.0, 0)
    families = list(parse_openmetrics((telemetry.render(Format.OPENMETRICS) + Format.OPENMETRICS.end).decode()))
    counted = [family for family in families if family.type in ("counter", "histogram")]
    assert {"process_cpu_seconds", "python_gc_collections", "unpod_exporter_api_requests"} <= {
        one.name for one in counted
    }
    for family in counted:
        created = [one for one in family.samples if one.name == f"{family.name}_created"]
        series = {tuple(sorted((k, v) for k, v in one.labels.items() if k != "le")) for one in family.samples}
        assert len(created) == len(series), family.name
        assert {one.value for one in created} == {SINCE}


def test_text_says_nothing_of_it(telemetry: Telemetry) -> None:
    names = {one.name for family in parse_text(telemetry.render(Format.TEXT).decode()) for one in family.samples}
    assert not [name for name in names if name.endswith("_created")]


def test_nothing_is_registered_globally(catalog: tuple[Family, ...]) -> None:
    for _ in range(2):
        Telemetry(catalog, version="1", started=SINCE)
    assert not [family for family in REGISTRY.collect() if family.name.startswith("unpod")]


def test_a_family_of_another_kind_than_the_code_wants_is_an_error(catalog: tuple[Family, ...]) -> None:
    wrong = [
        msgspec.structs.replace(family, kind=Kind.COUNTER) if family.name.endswith("state_size_bytes") else family
        for family in catalog
    ]
    with pytest.raises(ValueError, match="unpod_exporter_state_size_bytes is a counter, not a gauge"):
        Telemetry(wrong, version="1", started=SINCE)


def test_created_does_not_depend_on_the_environment_of_the_library() -> None:
    """prometheus_client reads PROMETHEUS_DISABLE_CREATED_SERIES once, when it is imported."""
    code = (
        "from exporter.exposition import catalog, lines, telemetry\n"
        "families = catalog.families(catalog.Settings())\n"
        "own = telemetry.Telemetry(families, version='1', started=5.0)\n"
        "assert b'unpod_exporter_api_response_bytes_created 5.0' in own.render(lines.Format.OPENMETRICS)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={"PROMETHEUS_DISABLE_CREATED_SERIES": "true"}, check=True)
