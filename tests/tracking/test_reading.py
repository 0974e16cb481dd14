"""Which pages a reading asks for, and when it believes that it has them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from exporter.tracking.pages import Pages, TooManyUnreadable, divisible
from exporter.tracking.reading import Reading
from exporter.unpod.errors import BadResponse, ConnectionFailed, ServerError, Timeout, TooLarge
from exporter.unpod.facts import Page, Task
from exporter.unpod.urgency import Urgency
from tests.tracking.stories import START


class Shelf:
    """A platform with these tasks, newest first; ``disturb`` may change it before each request."""

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        poison: Sequence[str] = (),
        too_large: int | None = None,
        counts: bool = True,
        apart: float = 0.0,
        disturb: Callable[[Shelf], None] = lambda shelf: None,
    ) -> None:
        self.tasks_now = list(tasks)
        self.poison = set(poison)
        self.too_large = too_large
        self.counts = counts
        self.apart = apart
        """Seconds between two tasks."""
        self.disturb = disturb
        self.down = False
        self.asked: list[tuple[int, int]] = []

    def has_time(self) -> bool:
        return True

    async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
        self.asked.append((page, page_size))
        self.disturb(self)
        shown = self.tasks_now[(page - 1) * page_size : page * page_size]
        if self.down or self.poison.intersection(shown):
            raise ServerError("500", status=500)
        if self.too_large is not None and len(shown) > self.too_large:
            raise TooLarge("too large")
        return Page(
            tasks=tuple(
                Task(id=name, created=START - self.apart * place)
                for place, name in enumerate(shown, start=(page - 1) * page_size)
            ),
            total=len(self.tasks_now) if self.counts else None,
            received=len(shown),
        )


def names(count: int) -> list[str]:
    return [f"T{number}" for number in range(count)]


async def read(
    shelf: Shelf, *, page_size: int = 4, read_from: float | None = None, known: Sequence[str] = ()
) -> tuple[set[str], Pages]:
    found, ledger = set[str](), set(known)
    pages = Pages(shelf, "agent")
    reading = Reading(pages, page_size=lambda: page_size, known=lambda: len(ledger), read_from=read_from)
    async for part in reading.slices():
        found |= {task.id for task in part.page.tasks}
        ledger |= found
    return found, pages


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
@pytest.mark.parametrize("counts", [True, False], ids=["with count", "without count"])
async def test_all_pages_are_read(count: int, counts: bool) -> None:
    found, pages = await read(Shelf(names(count), counts=counts))
    assert found == set(names(count))
    assert pages.total == (count if counts else None)


async def test_no_page_is_asked_for_beyond_the_count() -> None:
    shelf = Shelf(names(8))
    await read(shelf)
    assert shelf.asked == [(1, 4), (2, 4)]


async def test_tasks_that_shift_while_they_are_read_are_all_found() -> None:
    def arrive(shelf: Shelf) -> None:
        if len(shelf.asked) == 2:
            shelf.tasks_now.insert(0, "new")

    found, _ = await read(Shelf(names(9), disturb=arrive))
    assert found >= set(names(9))


def swap_before_second_page(shelf: Shelf) -> None:
    if len(shelf.asked) == 2:
        shelf.tasks_now[3], shelf.tasks_now[4] = shelf.tasks_now[4], shelf.tasks_now[3]


async def test_pages_between_which_tasks_may_have_swapped_are_read_again() -> None:
    shelf = Shelf(names(12), disturb=swap_before_second_page)
    found, _ = await read(shelf)
    assert found == set(names(12))
    assert len(shelf.asked) > 3


async def test_a_known_task_that_slips_is_left_to_the_next_poll() -> None:
    shelf = Shelf(names(8), disturb=swap_before_second_page)
    found, _ = await read(shelf, known=names(8))
    assert len(found) == 7
    assert len(shelf.asked) == 2


@pytest.mark.parametrize(("apart", "asked"), [(60.0, 2 * 3), (0.0, 3 + 12 * 3)], ids=["no ties", "ties"])
async def test_a_task_that_is_listed_twice_on_pages_far_from_each_other_is_no_contradiction(
    apart: float, asked: int
) -> None:
    shelf = Shelf([*names(8), "T0"], apart=apart)
    found, _ = await read(shelf)
    assert found == set(names(8))
    assert len(shelf.asked) == asked, "read again until it is certain that nothing slips"


async def test_a_task_that_slips_again_and_again_is_looked_for_as_long_as_its_ties_swap() -> None:
    def hide(shelf: Shelf) -> None:
        is_first = len(shelf.asked) % 2 == 1 or len(shelf.asked) > 12
        shelf.tasks_now[3:5] = ("T3", "T4") if is_first else ("T4", "T3")

    found, _ = await read(Shelf(names(8), disturb=hide))
    assert found == set(names(8))


async def test_a_count_that_is_never_reached_while_tasks_arrive_is_a_contradiction() -> None:
    def arrive(shelf: Shelf) -> None:
        shelf.tasks_now.insert(0, f"new{len(shelf.asked)}")

    reading = Reading(Pages(Shelf(names(8), disturb=arrive), "agent"), page_size=lambda: 4, known=lambda: 8)
    with pytest.raises(BadResponse, match="counts 9 tasks, but its pages hold 8 different ones"):
        async for _ in reading.slices():
            pass


async def test_a_page_with_more_than_the_count_leaves_is_asked_for_again_and_then_a_contradiction() -> None:
    class Miscounting(Shelf):
        async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
            answer = await super().tasks(agent, page=page, page_size=page_size, urgency=urgency)
            return Page(tasks=answer.tasks, total=2, received=answer.received)

    shelf = Miscounting(names(8))
    with pytest.raises(BadResponse, match="holds 4, but the platform counts 2"):
        await read(shelf)
    assert shelf.asked == [(1, 4), (1, 4)]


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("page_size", [4, 6, 9, 1])
async def test_a_poisoned_document_costs_only_itself(place: int, page_size: int) -> None:
    found, pages = await read(Shelf(names(9), poison=[f"T{place}"]), page_size=page_size)
    assert found == set(names(9)) - {f"T{place}"}
    assert pages.skipped == 1


async def test_several_poisoned_documents_are_all_walked_around() -> None:
    found, pages = await read(Shelf(names(30), poison=["T0", "T1", "T17", "T29"]), page_size=10)
    assert len(found) == 26
    assert pages.skipped == 4


async def test_a_server_that_fails_every_page_but_the_one_past_the_end_is_not_asked_for_ever() -> None:
    shelf = Shelf(names(1000), poison=names(1000))
    with pytest.raises(ServerError, match="every page with tasks"):
        await read(shelf, page_size=200)
    assert len(shelf.asked) <= 12


async def test_what_was_found_is_not_looked_for_again() -> None:
    shelf = Shelf(names(200), poison=names(60))
    found: list[frozenset[int]] = [frozenset()]
    ledger: set[str] = set()
    while not ledger:
        pages = Pages(shelf, "agent", found[-1])
        pages.total = 200
        shelf.asked.clear()
        try:
            ledger = {task.id for part in await pages.read(1, 200) for task in part.page.tasks}
        except TooManyUnreadable as error:
            found.append(error.places)
        assert len(shelf.asked) <= 120
        assert len(found) < 8, "each time it comes farther"
    assert len(ledger) == 140
    assert pages.skipped == 60
    assert len(found) > 1
    assert found == sorted(found, key=len)


@pytest.mark.parametrize("page_size", [199, 181, 97, 200, 128, 7])
async def test_one_poisoned_document_costs_few_requests_whatever_the_size_of_page(page_size: int) -> None:
    shelf = Shelf(names(page_size), poison=["T3"])
    found, _ = await read(shelf, page_size=divisible(page_size))
    assert len(found) == page_size - 1
    assert len(shelf.asked) <= 30
    assert 0.8 * page_size <= divisible(page_size) <= page_size


async def test_a_server_that_is_down_is_not_mistaken_for_poison() -> None:
    shelf = Shelf(names(9))
    shelf.down = True
    with pytest.raises(ServerError):
        await read(shelf)
    assert len(shelf.asked) == 2


async def test_a_server_that_goes_down_while_poison_is_looked_for_is_not_mistaken_either() -> None:
    def fall(shelf: Shelf) -> None:
        shelf.down = len(shelf.asked) > 3

    with pytest.raises(ServerError):
        await read(Shelf(names(16), poison=["T2"], disturb=fall), page_size=8)


async def test_an_answer_that_is_too_large_is_asked_for_in_parts() -> None:
    found, pages = await read(Shelf(names(9), too_large=2))
    assert found == set(names(9))
    assert pages.skipped == 0


async def test_a_platform_whose_every_task_is_too_large_is_an_error() -> None:
    shelf = Shelf(names(200), too_large=0)
    with pytest.raises(TooLarge):
        await read(shelf, page_size=200)
    assert len(shelf.asked) < 10


async def test_a_task_that_fails_once_is_asked_for_again_before_it_counts_as_unreadable() -> None:
    def stumble(shelf: Shelf) -> None:
        shelf.poison = {"T2"} if len(shelf.asked) < 6 else set()

    found, pages = await read(Shelf(names(4), disturb=stumble))
    assert found == set(names(4))
    assert pages.skipped == 0


@pytest.mark.parametrize("error", [ServerError("502", status=502), Timeout("slow"), ConnectionFailed("lost")])
async def test_a_page_that_is_lost_on_the_way_is_asked_for_again(error: Exception) -> None:
    def stumble(shelf: Shelf) -> None:
        if len(shelf.asked) == 2:
            raise error

    found, _ = await read(Shelf(names(12), disturb=stumble))
    assert found == set(names(12))


async def test_a_platform_that_does_not_answer_at_all_is_asked_once() -> None:
    def down(shelf: Shelf) -> None:
        raise ConnectionFailed("refused")

    shelf = Shelf(names(12), disturb=down)
    with pytest.raises(ConnectionFailed):
        await read(shelf)
    assert len(shelf.asked) == 1


@pytest.mark.parametrize(("apart", "asked"), [(60.0, 4 + 1), (0.0, 4 + 4)], ids=["no ties", "ties"])
async def test_two_documents_with_one_id_are_no_contradiction(apart: float, asked: int) -> None:
    shelf = Shelf(["T0", "T1", "T1", "T2", *names(12)[3:]], apart=apart)
    found, _ = await read(shelf)
    assert found == set(names(12))
    assert len(shelf.asked) == asked, "believed as soon as the page that holds it twice does so again"


@pytest.mark.parametrize("counts", [True, False], ids=["with count", "without count"])
@pytest.mark.parametrize("read_from", [None, START - 10_000], ids=["all", "a limited history"])
@pytest.mark.parametrize("apart", [60.0, 0.0], ids=["no ties", "ties"])
@pytest.mark.parametrize("page", [1, 2, 3])
async def test_a_page_that_repeats_a_task_once_hides_no_other(
    page: int, apart: float, read_from: float | None, counts: bool
) -> None:
    def repeat(shelf: Shelf) -> None:
        shelf.tasks_now = names(12)
        if len(shelf.asked) == page:
            shelf.tasks_now[4 * page - 1] = shelf.tasks_now[4 * page - 4]

    shelf = Shelf(names(12), apart=apart, counts=counts, disturb=repeat)
    found, _ = await read(shelf, read_from=read_from)
    assert found == set(names(12))
    assert len(shelf.asked) <= 4 + 3


async def test_one_odd_old_task_does_not_end_a_limited_history() -> None:
    class Odd(Shelf):
        async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
            answer = await super().tasks(agent, page=page, page_size=page_size, urgency=urgency)
            dated = tuple(Task(id=one.id, created=0.0 if one.id == "T1" else START) for one in answer.tasks)
            return Page(tasks=dated, total=answer.total, received=answer.received)

    found, _ = await read(Odd(names(12)), read_from=START - 5)
    assert found == set(names(12))


async def test_history_before_the_limit_is_not_read() -> None:
    class Aging(Shelf):
        async def tasks(self, agent: str, *, page: int, page_size: int, urgency: Urgency) -> Page:
            answer = await super().tasks(agent, page=page, page_size=page_size, urgency=urgency)
            aged = tuple(Task(id=task.id, created=START - int(task.id[1:])) for task in answer.tasks)
            return Page(tasks=aged, total=answer.total, received=answer.received)

    shelf = Aging(names(100))
    await read(shelf, read_from=START - 5)
    assert shelf.asked == [(1, 4), (2, 4), (3, 4)]
