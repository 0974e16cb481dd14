"""The exact facts of each sample document, documented and really seen shapes alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.unpod import reading, usual, wire
from exporter.unpod.facts import Call, Messages, Task

LINES = (Path(__file__).parents[1] / "data" / "samples.jsonl").read_text().splitlines()
ABOUT = [json.loads(line)["_about"] for line in LINES]
UNTOLD = ("retry_attempt", "failure_count")


def call(**facts: Any) -> Call:
    return Call(**facts)


def task(**facts: Any) -> Task:
    return Task(**{"status": "completed", "execution_type": "call", **facts})


EXPECTED = [
    task(
        id="T8ff2ccdffe9a11f0878d43cd8a99e069",
        run="R8ff2ccdefe9a11f0878d43cd8a99e069",
        created=1769860024.0,
        changed=1770444155.0,
        call=call(
            id="CALL_1",
            start=1770443865.0,
            end=1770444150.0,
            duration=285.0,
            over=True,
            status="completed",
            direction="outbound",
            end_reason="customer_ended",
            code="caller_hangup",
            number="+911234567890",
            recorded=True,
            messages=Messages(agent=1, user=1),
            silent=False,
            outcome="interested",
            sentiment="positive",
        ),
    ),
    task(
        id="T8ff2ccdffe9a11f0878d43cd8a99e06a",
        run="R8ff2ccdefe9a11f0878d43cd8a99e069",
        created=1769860024.0,
        changed=1769860051.198984,
        call=call(
            id="675272289779974401",
            start=1769860058.067021,
            end=1769860091.385745,
            duration=33.0,
            over=True,
            status="completed",
            direction="outbound",
            number="0000000000",
            recorded=True,
            messages=Messages(agent=1, user=1),
            silent=False,
            outcome="not_connected",
        ),
    ),
    task(id="TASK123", run="RUN123", created=1736504430.0, status="pending", untold=UNTOLD),
    task(
        id="T9",
        run="R9",
        created=1763732400.12,
        retry_attempt=1,
        untold=UNTOLD[1:],
        scheduled=1763732400.0,
        changed=1763732719.001002,
        call=call(
            id="019aa6a9-809f-7ddb-b110-7a16167cb632",
            start=1763732720.123,
            end=1763732796.892,
            duration=76.769,
            over=True,
            status="completed",
            direction="outbound",
            end_reason="customer_ended",
            code="customer-ended-call",
            number="+919900000000",
            recorded=True,
            messages=Messages(user=1),
            silent=False,
            outcome="call_back",
            cost=0.139,
            prompt_tokens=1200,
            completion_tokens=340,
            tts_characters=910,
            stt_seconds=61.5,
        ),
    ),
    task(id="T10", run="R9", created=1763732460.0, untold=UNTOLD[1:], call=call(over=True, status="not_connected")),
    task(
        id="T11",
        run="R9",
        created=1763732520.0,
        untold=UNTOLD[1:],
        status="in_progress",
        call=call(duration=0.0, direction="outbound"),
    ),
    task(
        id="T12",
        run="R9",
        created=1763732580.0,
        status="scheduled",
        retry_attempt=1,
        untold=UNTOLD[1:],
        scheduled=1763734500.0,
        call=call(
            id="019aa6a9-0000-7ddb-b110-7a16167cb632",
            start=1763733020.0,
            end=1763733048.0,
            duration=28.0,
            over=True,
            status="not_connected",
            direction="outbound",
            end_reason="no_answer",
            code="customer-did-not-answer",
        ),
    ),
    task(
        id="T13",
        run="R9",
        created=1763732640.0,
        status="failed",
        execution_type="unknown",
        retry_attempt=2,
        failure_count=2,
        failure_reason="max_retries",
        call=call(
            over=True,
            status="other",
            end_reason="llm_error",
            code="call.in-progress.error-providerfault-openai-llm-failed",
            messages=Messages(agent=1, user=1),
            silent=False,
        ),
        odd=("call_status",),
    ),
]


@pytest.mark.parametrize(("line", "expected"), [*zip(LINES, EXPECTED, strict=True)], ids=ABOUT)
def test_a_sample_has_exactly_these_facts(line: str, expected: Task) -> None:
    page = wire.tasks(f'{{"count": 1, "data": [{line}]}}'.encode())
    assert page is not None
    facts = usual.task(page.data[0]) or reading.task(page.data[0])
    assert facts is not None
    if facts.call:
        assert facts.call.digest
        facts = msgspec.structs.replace(facts, call=msgspec.structs.replace(facts.call, digest=0))
    assert facts == expected
