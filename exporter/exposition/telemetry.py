"""The exporter's metrics about itself and its process."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from itertools import product
from typing import Final, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics import MetricWrapperBase

from exporter.exposition.family import Family, Kind, Scope
from exporter.exposition.lines import Format, encode, header, labels, sample

M = TypeVar("M", bound=MetricWrapperBase)

_COUNTED: Final = {"counter": "_total", "histogram": "_sum", "summary": "_sum"}
"""Types that have ``_created``, and the suffix of the last sample before it."""


class Standing(Protocol):
    """How an exporter stands among those that share the agents."""

    @property
    def alive(self) -> int:
        """How many of them there are."""

    @property
    def held(self) -> int:
        """How many agents it holds."""

    @property
    def free(self) -> Sized:
        """The agents that nobody holds."""

    @property
    def renewed(self) -> float | None:
        """When it last renewed what it holds, in Unix seconds; None: never yet."""

    @property
    def share(self) -> int:
        """How many requests it may begin within a minute."""


class Telemetry:
    """Counts what the exporter does, in a registry of its own.

    Args:
        catalog: the families; those of the scope ``PROCESS`` are kept here.
        version: the exporter's.
        started: Unix seconds since when all this is counted.
    """

    def __init__(self, catalog: Iterable[Family], *, version: str, started: float) -> None:
        self._started = started
        self._registry = CollectorRegistry()
        metrics = _Metrics([family for family in catalog if family.scope is Scope.PROCESS], self._registry)
        metrics.gauge("build_info").labels(version, platform.python_version()).set(1)
        self._config_ok = metrics.gauge("config_last_reload_successful")
        self._config_ok_at = metrics.gauge("config_last_reload_success_timestamp_seconds")
        self._certificate = metrics.gauge("web_certificate_not_after_timestamp_seconds")
        self._certificate.set(math.nan)
        self._shard = metrics.gauge("shard_info")
        self._shard.labels("0", "1").set(1)
        self._skipped = metrics.gauge("agents_skipped")
        self._lag = metrics.gauge("schedule_lag_seconds")
        self._requests = metrics.counter("api_requests_total")
        self._request_seconds = metrics.histogram("api_request_duration_seconds")
        self._response_bytes = metrics.counter("api_response_bytes_total")
        self._waited = metrics.counter("api_throttle_wait_seconds_total")
        self._commits = metrics.histogram("state_commit_duration_seconds")
        self._state_size = metrics.gauge("state_size_bytes")
        self._state_created = metrics.gauge("state_created_timestamp_seconds")
        self._set_aside = metrics.gauge("state_set_aside_files")
        self._commit_failures = metrics.counter("state_commit_failures_total")
        self._uncommitted = metrics.gauge("state_uncommitted_tasks")
        self._rendered = metrics.gauge("scrape_render_duration_seconds")
        self._name = ""
        self._replica = metrics.gauge("replica_info")
        self._replicas = metrics.gauge("replicas")
        self._leases = metrics.gauge("leases_held")
        self._leases_free = metrics.gauge("leases_free")
        self._leases_lost = metrics.counter("leases_lost_total")
        self._renewed = metrics.gauge("leases_last_renewal_timestamp_seconds")
        self._share = metrics.gauge("api_requests_share_per_minute")
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def is_shard(self, index: int, count: int) -> None:
        """Which shard of how many this exporter is; unless told, the only one."""
        self._shard.clear()
        self._shard.labels(str(index), str(count)).set(1)

    def replica(self, name: str, standing: Callable[[], Standing]) -> None:
        """This exporter is one of several that share the agents; what tells how it stands among them."""
        self._replica.labels(name).set(1)
        self._replicas.labels(name).set_function(lambda: standing().alive)
        self._leases.labels(name).set_function(lambda: standing().held)
        self._leases_free.labels(name).set_function(lambda: len(standing().free))
        self._leases_lost.labels(name).inc(0)
        self._renewed.labels(name).set_function(lambda: standing().renewed or self._started)
        self._share.labels(name).set_function(lambda: standing().share)
        self._name = name

    def leases_lost(self, many: int) -> None:
        """So many agents were taken over by others."""
        self._leases_lost.labels(self._name).inc(many)

    def listed(self, skipped: int) -> None:
        """The list of agents has been read, so many entries of which were skipped."""
        self._skipped.set(skipped)

    def schedule(self, lag: Callable[[], float]) -> None:
        """What tells by how many seconds the interval is stretched."""
        self._lag.set_function(lag)

    def request(self, endpoint: str, code: str, seconds: float, received: int) -> None:
        """A request to the platform has ended: its HTTP status or bounded failure word, and the bytes received."""
        self._requests.labels(endpoint, code).inc()
        self._request_seconds.labels(endpoint).observe(seconds)
        self._response_bytes.inc(received)

    def waited(self, seconds: float) -> None:
        """A request has waited so long for a rate limit."""
        self._waited.inc(seconds)

    def committed(self, seconds: float) -> None:
        """The state has been committed, which took so long."""
        self._commits.observe(seconds)

    def not_committed(self) -> None:
        """The state could not be written."""
        self._commit_failures.inc()

    def state(
        self,
        size: Callable[[], int],
        created: Callable[[], float],
        *,
        set_aside: Callable[[], int],
        uncommitted: Callable[[], int],
    ) -> None:
        """What tells of the state in use: its bytes on disk, the Unix time when it was begun, how many damaged files
        lie beside it, and how many tasks are known in memory only."""
        self._state_size.set_function(size)
        self._state_created.set_function(created)
        self._set_aside.set_function(set_aside)
        self._uncommitted.set_function(uncommitted)

    def config_loaded(self, ok: bool, at: float) -> None:
        """The configuration has been read at this Unix time; not ``ok``: it is bad, and the one before stays."""
        self._config_ok.set(ok)
        if ok:
            self._config_ok_at.set(at)

    def certificate(self, ends: Callable[[], float | None]) -> None:
        """What tells until when, in Unix seconds, the server's certificate can be used; None: there is none."""
        self._certificate.set_function(lambda: math.nan if (moment := ends()) is None else moment)

    def rendered(self, seconds: float) -> None:
        """The answer to a scrape has been written, which took so long."""
        self._rendered.set(seconds)

    def render(self, form: Format) -> bytes:
        """All families, without what ends the format."""
        return encode("".join(self._lines(form)))

    def _lines(self, form: Format) -> Iterator[str]:
        for metric in filter(_is_told, self._registry.collect()):
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            yield header(form, name, metric.type, metric.documentation, metric.unit)
            yield from self._samples(metric, form)

    def _samples(self, metric: Metric, form: Format) -> Iterator[str]:
        """Samples as they are, but ``_created`` only where the format has it, and then for every counter; and none of
        what is not there."""
        created = f"{metric.name}_created"
        last = metric.name + _COUNTED.get(metric.type, "")
        for one in metric.samples:
            if one.name == created or math.isnan(one.value):
                continue
            inside = labels(one.labels.items())
            yield sample(one.name, inside, one.value)
            if form.created and metric.type in _COUNTED and one.name == last:
                yield sample(created, inside, self._started)


def _is_told(metric: Metric) -> bool:
    """Whether there is anything to show of it: not, of what only those have who share agents, with those who do not."""
    return bool(metric.samples)


class _Metrics:
    """Makes the metrics of the catalog, with the label values that are known in advance."""

    def __init__(self, families: Iterable[Family], registry: CollectorRegistry) -> None:
        self._families: Mapping[str, Family] = {
            family.name.removeprefix("unpod_exporter_"): family for family in families
        }
        self._registry = registry

    def counter(self, name: str) -> Counter:
        family = self._family(name, Kind.COUNTER)
        metric = Counter(family.name, family.help, _names(family), unit=family.unit, registry=self._registry)
        return _initialised(metric, family)

    def gauge(self, name: str) -> Gauge:
        family = self._family(name, Kind.GAUGE)
        return Gauge(family.name, family.help, _names(family), unit=family.unit, registry=self._registry)

    def histogram(self, name: str) -> Histogram:
        family = self._family(name, Kind.HISTOGRAM)
        metric = Histogram(
            family.name,
            family.help,
            _names(family),
            unit=family.unit,
            registry=self._registry,
            buckets=family.buckets,
        )
        return _initialised(metric, family)

    def _family(self, name: str, kind: Kind) -> Family:
        family = self._families[name]
        if family.kind is not kind:
            raise ValueError(f"{family.name} is a {family.kind}, not a {kind}")
        return family


def _names(family: Family) -> list[str]:
    return [label.name for label in family.labels]


def _initialised(metric: M, family: Family) -> M:
    for values in product(*(label.known for label in family.labels)) if family.labels else ():
        metric.labels(*values)
    return metric
