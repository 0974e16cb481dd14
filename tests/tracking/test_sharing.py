"""A fleet that shares its agents with others: it polls those that it holds, and shows none that it does not."""

from __future__ import annotations

from exporter.tracking.plan import Named, Plan
from exporter.tracking.roster import Choice, digest_of
from exporter.tracking.storage import StateTaken
from exporter.unpod.facts import Agent
from tests.tracking.crew import EVERYBODY, Crew, crew, named
from tests.tracking.platform import values


def shares(made: Crew, plan: Plan) -> None:
    """From now on others may poll its agents."""
    made.may_ask = True
    made.starts(plan)


async def test_nothing_is_polled_that_is_not_held() -> None:
    plan = named("one", "two")
    async with crew(plan, "one", "two") as made:
        shares(made, plan)
        await made.fleet.resume([])
        assert made.fleet.trackers == {}
        assert set(made.fleet.wanted) == {"one", "two"}
        async with made.running():
            assert await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
        assert values(made.shown("one"), "agent_polls") == {(): 1}
        assert {report.agent for report in made.published} == {"one"}


async def test_what_is_released_is_shown_no_more_and_can_be_held_again() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        shares(made, plan)
        await made.fleet.resume([])
        async with made.running():
            await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
            await made.fleet.release("one")
            assert made.removed
            assert made.fleet.trackers == {}
            made.alarm.sleepers.clear()
            await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
            await made.alarm.wake("poll one")
        assert values(made.shown("one"), "agent_polls") == {(): 1}


async def test_what_is_hidden_stays_so_whatever_becomes_of_its_poll() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        shares(made, plan)
        await made.fleet.resume([])
        async with made.running():
            await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
            made.fleet.hide("one")
            shown = len(made.published)
            await made.alarm.wake("poll one")
        assert made.removed == ["one"]
        assert len(made.published) == shown


async def test_a_poll_whose_agent_was_taken_shows_no_failure() -> None:
    plan = named("one")
    async with crew(plan, "one") as made:
        shares(made, plan)
        await made.fleet.resume([])
        async with made.running():
            await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
            made.platform.breaks["one"] = StateTaken("another replica polls this agent now")
            await made.alarm.wake("poll one")
        assert values(made.shown("one"), "agent_up") == {(): 1}


async def test_the_platform_is_not_asked_until_it_may_be() -> None:
    async with crew(EVERYBODY, "one") as made:
        made.may_ask = False
        made.starts(EVERYBODY)
        await made.fleet.resume(["one"])
        async with made.running("list of agents"):
            await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
            assert made.platform.asked == 0
            made.may_ask = True
            await made.alarm.wake("poll one", "list of agents")
        assert made.platform.asked == 1


async def test_what_the_list_says_of_an_agent_is_known_when_it_is_held() -> None:
    async with crew(EVERYBODY, "one") as made:
        shares(made, EVERYBODY)
        await made.fleet.resume([])
        async with made.running("list of agents"):
            assert set(made.fleet.wanted) == {"one"}
            await made.fleet.hold("one")
            await made.alarm.until_asleep("poll one")
        assert made.shown("one").info == {"name": "One", "agent_type": "voice"}


async def test_an_agent_that_others_have_found_is_wanted_unless_the_list_says_otherwise() -> None:
    plan = Plan(choice=Choice(include=("sales-*",), types=("voice",)), named=(Named(handle="support"),))
    async with crew(plan, "sales-1") as made:
        made.platform.listed.append(Agent(handle="sales-2", name="", type="chat"))
        shares(made, plan)
        await made.fleet.resume([])
        assert [made.fleet.wants(agent) for agent in ("sales-9", "support", "other", "sales-2")] == [
            True,
            True,
            False,
            True,
        ]
        async with made.running("list of agents"):
            assert [made.fleet.wants(agent) for agent in ("sales-9", "sales-2")] == [True, False]


def test_the_same_choice_has_the_same_digest_however_agents_are_ordered() -> None:
    assert digest_of(["a", "b"], Choice()) == digest_of(["b", "a"], Choice())
    assert digest_of(["a"], Choice()) != digest_of(["a"], None)
    assert digest_of(["a"], Choice()) != digest_of(["a"], Choice(include=("x*",)))
