"""Which agents are polled."""

from __future__ import annotations

import pytest

from exporter.tracking.roster import Choice, chosen
from exporter.unpod.facts import Agent

LISTED = (
    Agent(handle="sales-v1", type="voice"),
    Agent(handle="sales-v2", type="voice"),
    Agent(handle="support", type="chat"),
    Agent(handle="Sales-v3"),
)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (Choice(), ("sales-v1", "sales-v2", "support", "Sales-v3")),
        (Choice(include=("sales-*",)), ("sales-v1", "sales-v2")),
        (Choice(include=("sales-v?", "supp*")), ("sales-v1", "sales-v2", "support")),
        (Choice(include=("*-v[13]",)), ("sales-v1", "Sales-v3")),
        (Choice(exclude=("*v2", "support")), ("sales-v1", "Sales-v3")),
        (Choice(include=("sales-v1",), exclude=("*",)), ()),
        (Choice(include=()), ()),
        (Choice(types=("voice",)), ("sales-v1", "sales-v2")),
        (Choice(types=("chat", "unknown")), ("support", "Sales-v3")),
        (Choice(include=("s*",), exclude=("*2",), types=("voice",)), ("sales-v1",)),
    ],
)
def test_globs_tell_handles_by_case_and_types_tell_kinds(choice: Choice, wanted: tuple[str, ...]) -> None:
    assert chosen((), LISTED, choice) == wanted


def test_without_discovery_only_the_named_agents_are_polled() -> None:
    assert chosen(("mine",), LISTED, None) == ("mine",)


def test_named_agents_come_first_and_are_polled_whatever_discovery_thinks_of_them() -> None:
    choice = Choice(include=("sales-*",), exclude=("support",))
    assert chosen(("support", "sales-v2"), LISTED, choice) == ("support", "sales-v2", "sales-v1")


def test_an_agent_that_occurs_twice_is_polled_once() -> None:
    assert chosen(("sales-v1", "sales-v1"), (*LISTED[:2], *LISTED[:2]), Choice()) == ("sales-v1", "sales-v2")
