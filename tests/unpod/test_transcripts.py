from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.unpod import wire
from exporter.unpod.facts import Call, Messages
from exporter.unpod.transcripts import transcript
from exporter.unpod.vocabulary import ROLE_WORDS

ReadCall = Callable[..., Call]


def said(role: object, content: object = "words") -> dict[str, Any]:
    return {"role": role, "content": content, "timestamp": "2026-01-31 11:47:46.675013"}


@pytest.mark.parametrize("role", ["assistant", "agent", "bot", "ai", "Assistant", " AGENT "])
def test_the_agent_has_many_names(read_call: ReadCall, role: str) -> None:
    assert read_call(transcript=[said(role)]).messages == Messages(agent=1)


@pytest.mark.parametrize("role", ["user", "customer", "human", "Customer"])
def test_the_user_has_many_names(read_call: ReadCall, role: str) -> None:
    assert read_call(transcript=[said(role)]).messages == Messages(user=1)


@pytest.mark.parametrize("role", ["system", "tool", None, ""])
def test_neither_side_is_other(read_call: ReadCall, role: object) -> None:
    assert read_call(transcript=[said(role)]).messages == Messages(other=1)


@pytest.mark.parametrize("role", ["ghost", 7, {}])
def test_a_role_that_fits_nothing_is_other_and_odd(read_call: ReadCall, role: object) -> None:
    assert read_call(transcript=[said(role)], odd=("transcript",)).messages == Messages(other=1)


@pytest.mark.parametrize("raw", [None, "", [], "NULL", "None", [None], "they talked about the weather"])
def test_a_transcript_without_roles_tells_nothing(read_call: ReadCall, raw: object) -> None:
    call = read_call(transcript=raw)
    assert (call.messages, call.silent) == (None, None)


def test_an_absent_transcript_tells_nothing(read_call: ReadCall) -> None:
    assert (read_call().messages, read_call().silent) == (None, None)


@pytest.mark.parametrize("raw", [{"role": "user"}, 7, True, [[]], [3]])
def test_a_transcript_of_another_kind_is_odd(read_call: ReadCall, raw: object) -> None:
    assert read_call(transcript=raw, odd=("transcript",)).messages is None


def test_a_transcript_may_be_text_with_roles(read_call: ReadCall) -> None:
    call = read_call(transcript="Agent: hello\nCustomer: no\nAI: are you sure?\nit is free: really\nuser: yes")
    assert call.messages == Messages(agent=2, user=2)
    assert call.silent is False


def test_a_colon_within_words_begins_no_message(read_call: ReadCall) -> None:
    assert read_call(transcript="Agent: hello\nNote: see https://example.com").messages == Messages(agent=1)


@pytest.mark.parametrize("content", ["", "  \n\t", "\u00a0", None])
def test_a_user_who_says_nothing_but_white_space_is_silent(read_call: ReadCall, content: object) -> None:
    assert read_call(transcript=[said("agent"), said("user", content)]).silent is True


def test_a_transcript_without_the_user_is_silent(read_call: ReadCall) -> None:
    assert read_call(transcript=[said("agent")]).silent is True
    assert read_call(transcript="Agent: hello\nUser:  \n").silent is True


def test_one_word_of_the_user_breaks_the_silence(read_call: ReadCall) -> None:
    assert read_call(transcript=[said("user", " "), said("user", "हाँ")]).silent is False
    assert read_call(transcript="User:\nyes").silent is False


@pytest.mark.parametrize("field", ["message", "text"])
def test_the_words_may_stand_under_another_name(read_call: ReadCall, field: str) -> None:
    assert read_call(transcript=[{"role": "user", field: "yes"}]).silent is False


ROLES = st.sampled_from(sorted(ROLE_WORDS))
WORDS = st.text(st.characters(codec="utf-8", exclude_characters=":"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ROLES, WORDS)))
def test_every_message_of_a_list_is_counted_once(messages: list[tuple[str, str]]) -> None:
    counted, silent = transcript(
        [wire.Message(role=role, content=wire.written(words)) for role, words in messages], set()
    )
    sides = [ROLE_WORDS[role] for role, _ in messages]
    if not messages:
        assert counted is None
        return
    assert counted == Messages(*(sides.count(side) for side in ("agent", "user", "other")))
    assert silent == (not any(words.strip() for role, words in messages if ROLE_WORDS[role] == "user"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(ROLES, st.sampled_from(["", "yes", "so: what", " "]))))
def test_text_and_list_tell_the_same(messages: list[tuple[str, str]]) -> None:
    listed = [wire.Message(role=role, content=wire.written(words)) for role, words in messages]
    written = "\n".join(f"{role.title()}: {words}" for role, words in messages)
    assert transcript(written, set()) == transcript(listed, set())


@pytest.mark.parametrize("words", [b'"\xff"', b'"\xe0\xa4"', b"1e999", b"1" * 6000, b"true", b'[""]'])
def test_words_that_are_no_text_are_words(words: bytes) -> None:
    page = wire.tasks(b'{"data":[{"output":{"transcript":[{"role":"user","content":%b}]}}]}' % words)
    assert page is not None
    assert transcript(wire.task(page.data[0]).output.transcript, set()) == (Messages(user=1), False)


@pytest.mark.parametrize("words", [b"0", b"{}", b"[]", b"false", b'"\\u00a0\\n"'])
@pytest.mark.parametrize("poison", [b'""', b"NaN"], ids=["read strictly", "read tolerantly"])
def test_words_that_say_nothing_are_none(words: bytes, poison: bytes) -> None:
    page = wire.tasks(b'{"data":[{"x":%b,"output":{"transcript":[{"role":"user","content":%b}]}}]}' % (poison, words))
    assert page is not None
    assert transcript(wire.task(page.data[0]).output.transcript, set()) == (Messages(user=1), True)
