"""A platform that costs next to nothing: tasks are made from a template when they are asked for.

It stands in a process of its own, so that what is measured is the exporter alone.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from aiohttp import web

_TURN = "हाँ, बताइए। I would like to know more about the plan, and what it costs for a family of four. "


class Platform:
    """``count`` tasks, ``apart`` seconds between two; every tenth of the newest ``10 * open_`` is open, as it is in
    life."""

    BEGIN = 1_700_000_000

    def __init__(self, count: int, size: int, open_: int, apart: float = 1.0) -> None:
        self.count = count
        self.apart = apart
        self.size = size
        self.open_from = count - 10 * open_
        self.requests = 0
        self.bytes = 0
        self._tails: dict[int, str] = {}

    def page(self, number: int, size: int) -> bytes:
        newest = self.count - 1 - (number - 1) * size
        tasks = ",".join(self.task(place) for place in range(newest, max(-1, newest - size), -1))
        return f'{{"count":{self.count},"status_code":200,"message":"ok","data":[{tasks}]}}'.encode()

    def task(self, place: int) -> str:
        created = self.created(place)
        at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        is_open = place >= self.open_from and place % 10 == 0
        status = "pending" if is_open else "completed"
        head = (
            f'{{"_id":"{created:08x}{place:016x}","task_id":"T{place:032x}","run_id":"R{place // 100:032x}",'
            f'"status":"{status}","execution_type":"call","created":"{at}","last_status_change":"{at}",'
            f'"retry_attempt":{place % 3},"failure_count":0,"scheduled_timestamp":null,"provider":"vapi",'
        )
        return head + ('"output":{}}' if is_open else self._output(place, created))

    def created(self, place: int) -> int:
        """When a task was created, in Unix seconds."""
        return self.BEGIN + int(place * self.apart)

    def _output(self, place: int, created: int) -> str:
        start = datetime.fromtimestamp(created + 5, UTC).strftime("%Y-%m-%dT%H:%M:%S.123Z")
        end = datetime.fromtimestamp(created + 65 + place % 120, UTC).strftime("%Y-%m-%dT%H:%M:%S.892Z")
        return (
            f'"output":{{"call_id":"C{place:032x}","call_status":"completed","call_type":"outboundPhoneCall",'
            f'"call_end_reason":"customer-ended-call","start_time":"{start}","end_time":"{end}",'
            f'"cost":0.{place % 900 + 100},{self._tail(self.size)}}}}}'
        )

    def _tail(self, size: int) -> str:
        """The transcript and what else makes up most of a task's bytes."""
        if size not in self._tails:
            turns = [{"role": role, "content": _TURN} for role in ("assistant", "user")]
            bytes_of_pair = len(json.dumps(turns, ensure_ascii=False).encode())
            turns *= max(1, (size - 700) // bytes_of_pair)
            rest = {
                "recording_url": "https://cdn.example/1.wav",
                "transcript": turns,
                "post_call_data": {"summary": {"status": "Interested", "summary": "..."}},
                "metadata": {"cost": 0.1, "usage": {"llm_prompt_tokens": 1200, "llm_completion_tokens": 340}},
            }
            self._tails[size] = json.dumps(rest, ensure_ascii=False)[1:-1]
        return self._tails[size]

    async def tasks(self, request: web.Request) -> web.Response:
        number, size = int(request.query.get("page", "1")), int(request.query.get("page_size", "20"))
        body = self.page(number, size or self.count)
        self.requests += 1
        self.bytes += len(body)
        return web.Response(body=body, content_type="application/json")

    async def spent(self, request: web.Request) -> web.Response:
        """Requests and bytes since the last time this was asked; ``size`` sets the size of tasks."""
        spent = {"requests": self.requests, "bytes": self.bytes}
        self.requests = self.bytes = 0
        self.size = int(request.query.get("size", self.size))
        return web.json_response(spent)


def main() -> None:
    count, size, open_, port = map(int, sys.argv[1:5])
    platform = Platform(count, size, open_, float(sys.argv[5]))
    app = web.Application()
    app.router.add_get("/_spent", platform.spent)
    app.router.add_get("/api/v2/platform/agents/{handle}/tasks/", platform.tasks)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
