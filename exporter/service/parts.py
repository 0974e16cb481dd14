"""What each part is told of the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from exporter import __version__
from exporter.config import ALL, AgentConfig, Config
from exporter.config.quantities import format_duration
from exporter.exposition import catalog
from exporter.tracking import storage
from exporter.tracking.damage import Rewritten, SetAside
from exporter.tracking.overlay import Overlay
from exporter.tracking.plan import Named, Plan
from exporter.tracking.roster import Choice, Shard
from exporter.tracking.rules import Rules
from exporter.tracking.tallies import Limits
from exporter.unpod.client import FileToken, Settings, StaticToken, Token
from exporter.web import pages

USER_AGENT: Final = f"unpod-exporter/{__version__}"


def settings(config: Config) -> Settings:
    """Of the client."""
    api = config.api
    return Settings(
        base_url=api.base_url,
        path_prefix=api.path_prefix,
        org_handle=api.org_handle,
        timeout=api.timeout,
        page_size=api.page_size,
        max_concurrent_requests=api.max_concurrent_requests,
        requests_per_minute=api.requests_per_minute,
        max_response_bytes=api.max_response_bytes,
        ca_file=str(api.ca_file) if api.ca_file else None,
        insecure_skip_verify=api.insecure_skip_verify,
        proxy_url=api.proxy_url.reveal() if api.proxy_url else None,
        user_agent=USER_AGENT,
    )


def token(config: Config) -> Token:
    """Of the client. Raises ``Unauthorized`` where the token can be none."""
    api = config.api
    if api.token_file is not None:
        return FileToken(api.token_file)
    return StaticToken(api.token.reveal() if api.token else "")


def only(config: Config, handles: Sequence[str]) -> Config:
    """The settings with these agents alone, whatever shard they are of, each as it is named there if it is."""
    named = {agent.handle: agent for agent in config.agents}
    agents = tuple(named.get(handle) or AgentConfig(handle=handle) for handle in dict.fromkeys(handles))
    return msgspec.structs.replace(
        config,
        agents=agents,
        discovery=msgspec.structs.replace(config.discovery, enabled=False),
        shard=type(config.shard)(),
    )


def shown(config: Config) -> catalog.Settings:
    """Of the catalog."""
    return catalog.Settings(history=config.polling.history, call_duration_buckets=config.metrics.call_duration_buckets)


def rules(config: Config) -> Rules:
    """Of the trackers."""
    polling, metrics = config.polling, config.metrics
    return Rules(
        page_size=config.api.page_size,
        reconcile_interval=polling.reconcile_interval,
        settling_time=polling.settling_time,
        max_staleness=polling.max_staleness,
        overdue_grace=polling.overdue_grace,
        history=polling.history,
        backfill=polling.backfill,
        limits=Limits(
            buckets=dict(catalog.buckets(shown(config))),
            end_codes=metrics.end_codes_limit,
            numbers=metrics.numbers_limit,
        ),
    )


def plan(config: Config) -> Plan:
    """Of the fleet."""
    discovery = config.discovery
    shard = Shard(index=config.shard.index, count=config.shard.count)
    choice = Choice(include=discovery.include, exclude=discovery.exclude, types=discovery.types, shard=shard)
    # The list tells the agents' names as well, but the platform refuses it without an organisation.
    reads_list = discovery.enabled or config.api.org_handle is not None
    return Plan(
        interval=config.polling.interval,
        named=tuple(
            Named(handle=one.handle, interval=one.interval, labels=one.labels)
            for one in config.agents
            if shard.owns(one.handle)
        ),
        choice=choice if discovery.enabled else None,
        list_interval=discovery.interval if reads_list else None,
        requests_per_minute=config.api.requests_per_minute,
    )


def state_in_words(config: Config) -> str:
    """Where the state is."""
    return config.state.words


def state_shown(config: Config, state: storage.State, overlay: Overlay) -> pages.State:
    """What people are shown of the state; ``overlay`` is over it."""
    unwritable = overlay.unwritable
    return pages.State(
        path=None if config.state.words == "memory" else config.state.words,
        size=state.size(),
        created=state.created,
        unwritable_since=unwritable.since if unwritable is not None else None,
        unwritable=unwritable.error if unwritable is not None else "",
        uncommitted=overlay.uncommitted(),
        set_aside=state.set_aside(),
    )


def backfill_in_words(config: Config) -> str:
    """How much of the past a new state counts."""
    backfill = config.polling.backfill
    return {ALL: "all", 0.0: "none"}.get(backfill) or format_duration(backfill)


def set_aside_in_words(what: SetAside, config: Config) -> dict[str, str]:
    """What a damaged state means for the numbers, and what to do."""
    goes_on = "the counters of agents_kept go on, less what happened to settled tasks since their last poll"
    begins = f"{'agents_lost' if what.lost else 'all agents'} begin anew with backfill {backfill_in_words(config)}"
    meaning = [goes_on] * bool(what.kept) + [begins] * (bool(what.lost) or not what.kept)
    return {
        "state": str(what.state),
        "damage": what.damage,
        "set_aside_as": str(what.file),
        "agents_kept": ",".join(what.kept),
        "agents_lost": ",".join(what.lost),
        "numbers": "; ".join(meaning),
        "todo": "check the disk; then delete what was set aside, or stop the exporter and put a backup in place",
    }


def rewritten_in_words(what: Rewritten) -> dict[str, str]:
    """What it means that somebody has deleted a state, or put another in its place, and what to do."""
    said = {"state": str(what.state), "numbers": "all of them go on; the state was written anew from what was open"}
    if what.file is None:
        return {**said, "todo": "find out who deletes it: without a running exporter all would have been lost"}
    return {
        **said,
        "set_aside_as": str(what.file),
        "todo": "to begin with that file instead, stop the exporter and put it in place; else delete it",
    }
