"""An event loop whose time jumps to the next timer as soon as there is nothing left to do: hours of real requests over
real sockets in seconds, with no second waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")

_A_MOMENT = 0.0005
"""Seconds, of real time, in which what was sent over loopback arrives."""
_OF_THE_LOOP = 1
"""Sockets that the loop has for itself, to be woken by threads."""


class _Selector(selectors.DefaultSelector):
    """Sockets are waited for as long as anything is under way between them; then time jumps."""

    jump: Callable[[float], None]
    is_working: Callable[[], bool]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0 or self.is_working():
            return super().select(timeout if timeout is not None and timeout <= 0 else None)
        found = super().select(0)
        if not found and len(self.get_map()) > _OF_THE_LOOP:
            found = super().select(_A_MOMENT)
        if not found:
            self.jump(timeout)
        return found


class JumpingLoop(asyncio.SelectorEventLoop):
    """``time()`` begins at 0. While a thread works, it stands still."""

    def __init__(self) -> None:
        self._now = 0.0
        self._in_threads = 0
        selector = _Selector()
        selector.jump = self._jump
        selector.is_working = lambda: self._in_threads > 0
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds

    def run_in_executor(self, executor: Executor | None, work: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        self._in_threads += 1
        future = super().run_in_executor(executor, work, *args)
        future.add_done_callback(self._back_from_a_thread)
        return future

    def _back_from_a_thread(self, _: object) -> None:
        self._in_threads -= 1


def run(work: Coroutine[Any, Any, T]) -> T:
    """Its result, whatever time it takes in there."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)
