"""Paging as the platform does it, over real HTTP."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.simulator import truth
from exporter.simulator.profiles import Profile
from exporter.simulator.shelf import Shelf
from exporter.simulator.tasks import Run, Task

BULKY = Profile(handle="small", tasks_per_hour=0.0, bulk_every=600.0, bulk_size=(60, 60), ties=1.0)


async def test_an_unpaged_request_returns_the_newest_twenty_and_counts_all(visitor: Any) -> None:
    answer = (await visitor.tasks()).json
    assert len(answer["data"]) == 20
    assert answer["count"] == len((await visitor.tasks("?page_size=0")).ids) > 40
    assert answer["status_code"] == 200
    assert isinstance(answer["message"], str)


async def test_page_size_has_no_maximum_and_zero_is_everything(visitor: Any) -> None:
    everything = (await visitor.tasks("?page_size=0")).ids
    assert (await visitor.tasks("?page_size=1000000")).ids == everything
    assert (await visitor.tasks("?page=3&page_size=0")).ids == everything


async def test_pages_follow_each_other_newest_first(visitor: Any) -> None:
    pages = [(await visitor.tasks(f"?page={page}&page_size=7")).json["data"] for page in range(1, 20)]
    tasks = [task for page in pages for task in page]
    created = [task["created"] for task in tasks]
    assert created == sorted(created, reverse=True)
    assert [task["task_id"] for task in tasks] == (await visitor.tasks("?page_size=0")).ids


async def test_a_page_past_the_end_is_empty_with_the_true_count(visitor: Any) -> None:
    answer = await visitor.tasks("?page=99")
    assert answer.status == 200
    assert answer.json["data"] == []
    assert answer.json["count"] > 0


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=-1", "?page=two", "?page=1.5", "?page_size=-1", "?page_size=x", "?page="]
)
async def test_a_page_that_is_no_positive_integer_crashes_in_html(visitor: Any, query: str) -> None:
    answer = await visitor.tasks(query)
    assert answer.status == 500
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_new_tasks_shift_every_offset(visitor: Any) -> None:
    before = (await visitor.tasks("?page=2&page_size=10")).ids
    visitor.now += 600.0
    after = (await visitor.tasks("?page=2&page_size=10")).ids
    assert after != before
    assert set(before) <= set((await visitor.tasks("?page_size=0")).ids)


async def test_equal_times_change_places_between_requests_and_nothing_gets_lost(
    make_world: Any, open_platform: Any
) -> None:
    async with open_platform(make_world(BULKY, restless_ties=0.5)) as visitor:
        orders = [tuple((await visitor.tasks("?page_size=0")).ids) for _ in range(12)]
        assert len(set(orders)) > 1
        assert len({frozenset(order) for order in orders}) == 1
        first_pages = {tuple((await visitor.tasks("?page_size=30")).ids) for _ in range(12)}
        assert len(first_pages) > 1


def on_shelf(serial: int, created: int | None) -> Task:
    return Task(
        id=f"T{serial}",
        object_id=f"{serial:024x}",
        run=Run("R", []),
        created=float(created or 0),
        dated=created is not None,
        kind="call",
        raw_kind="call",
        seed=serial,
    )


@given(
    st.lists(st.none() | st.integers(0, 6), max_size=30).map(
        lambda found: sorted(found, key=lambda created: -1 if created is None else created)
    ),
    st.integers(0, 35),
    st.integers(0, 12),
    st.integers(0, 3),
)
def test_any_stretch_is_a_part_of_the_whole_in_its_order(
    times: list[int | None], first: int, length: int, order: int
) -> None:
    shelf = Shelf()
    for serial, created in enumerate(times):
        shelf.add(on_shelf(serial, created))
    whole = shelf.newest(0, len(times), order)
    assert sorted(task.id for task in whole) == sorted(f"T{serial}" for serial in range(len(times)))
    keys = [task.created if task.dated else -1.0 for task in whole]
    assert keys == sorted(keys, reverse=True)
    assert shelf.newest(first, min(first + length, len(times)), order) == whole[first : first + length]


async def test_the_order_of_ties_is_the_same_for_the_same_seed_and_request(make_world: Any) -> None:
    one, other = make_world(BULKY, restless_ties=0.5), make_world(BULKY, restless_ties=0.5)
    assert [one.tasks("small", page_size=0).ids for _ in range(9)] == [
        other.tasks("small", page_size=0).ids for _ in range(9)
    ]


async def test_bulk_runs_have_one_created_for_hundreds_of_tasks(day_of_documents: Any) -> None:
    sizes: dict[str, set[str]] = {}
    for _, task in day_of_documents:
        if "created" in task:
            sizes.setdefault(task["created"], set()).add(task["task_id"])
    assert max(map(len, sizes.values())) >= 200


async def test_tasks_without_created_come_last_and_their_id_holds_the_time(make_world: Any) -> None:
    world = make_world(Profile(handle="small", tasks_per_hour=200.0, older=True))
    tasks = [json.loads(document) for document in world.tasks("small", page_size=0).documents]
    dated = ["created" in task for task in tasks]
    assert dated == sorted(dated, reverse=True)
    assert not all(dated)
    created = {event.task: event for event in world.truth if isinstance(event, truth.Created)}
    for task in tasks:
        event = created[task["task_id"]]
        assert int(task["_id"][:8], 16) == int(event.at)
        assert event.created == (event.at if "created" in task else int(event.at))


async def test_ids_are_unique_and_hold_their_time(day_of_documents: Any) -> None:
    by_task: dict[str, str] = {}
    for _, task in day_of_documents:
        assert by_task.setdefault(task["task_id"], task["_id"]) == task["_id"]
        assert len(task["_id"]) == 24
        assert task["task_id"][0] == "T"
        seconds = (UUID(task["task_id"][1:]).time - 0x01B21DD213814000) / 1e7
        assert abs(seconds - int(task["_id"][:8], 16)) < 1.01
    assert len(set(by_task.values())) == len(by_task)


async def test_a_page_costs_encoding_only_for_what_changed(make_world: Any) -> None:
    world = make_world(Profile(handle="small", tasks_per_hour=2000.0))
    world.tasks("small", page=3, page_size=200)
    assert world.archive.encodings == 200
    world.tasks("small", page=3, page_size=200)
    assert world.archive.encodings == 200


async def test_the_cache_of_documents_is_bounded_and_changes_no_answer(make_world: Any) -> None:
    roomy, narrow = make_world(restless_ties=0.0), make_world(restless_ties=0.0, cache_bytes=20_000)
    for _ in range(2):
        assert roomy.tasks("small", page_size=0) == narrow.tasks("small", page_size=0)
    assert narrow.archive.encodings > roomy.archive.encodings
