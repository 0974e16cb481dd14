"""What a replica says of itself and of the others."""

from __future__ import annotations

import msgspec

from exporter.service.sharing import in_words
from exporter.tracking.replicas.member import Standing

ALONE = Standing(replica="pod-0", sure=True, renewed=1.0, held=2, share=20, alive=1)


def test_it_says_who_polls_what() -> None:
    assert in_words(ALONE) == "This is the replica pod-0, one of 1: the others poll no agent."
    others = {"a": "pod-2", "b": "pod-1", "c": "pod-2"}
    two = msgspec.structs.replace(ALONE, alive=3, elsewhere=others, free=("d",))
    assert in_words(two) == "This is the replica pod-0, one of 3: pod-1 polls b; pod-2 polls a, c; nobody polls d yet."


def test_of_many_agents_it_names_some() -> None:
    many = msgspec.structs.replace(ALONE, alive=2, elsewhere={f"{number:03}": "pod-1" for number in range(100)})
    assert in_words(many).endswith("018, 019 and 80 more.")


def test_it_says_that_it_shows_nothing_when_it_cannot_be_sure() -> None:
    assert "shows no agent" in in_words(msgspec.structs.replace(ALONE, sure=False))
