"""What many agents have in common is told once: of the first few by name, of the others how many they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from exporter.tracking.log import Log

NAMED: Final = 5
"""Agents of which the same is told by name within one window."""
WINDOW: Final = 60.0
"""Seconds from the first of them until the others are told as a number."""


class _Fold:
    def __init__(self, since: float, tell: Callable[..., Any]) -> None:
        self.since = since
        self.tell = tell
        self.told = 0
        self.more: set[str] = set()


class Folding:
    """Stands before a log, so that a thousand agents that fail together do not fill it with a thousand lines.

    Nothing is lost to who looks closely: what is folded is told at debug level. How many there were is told at the
    first opportunity after a window has ended: ``unfold`` is to be called whenever something has happened.
    """

    def __init__(self, log: Log, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now
        self._folds: dict[tuple[str, str | None], _Fold] = {}

    def tell(
        self, tell: Callable[..., Any], event: str, *, agent: str, reason: str | None = None, **fields: Any
    ) -> None:
        """Tells an event of an agent by ``tell``, a method of the log. It is the same as others with its name and
        ``reason``."""
        self.unfold()
        why = {} if reason is None else {"reason": reason}
        fold = self._folds.setdefault((event, reason), _Fold(self._now(), tell))
        if fold.told < NAMED:
            fold.told += 1
            tell(event, agent=agent, **why, **fields)
        else:
            fold.more.add(agent)
            self._log.debug(event, agent=agent, **why, **fields)

    def unfold(self, *, now: bool = False) -> None:
        """Tells how many there were in the windows that have ended; ``now``: in those that have not, as well."""
        for (event, reason), fold in list(self._folds.items()):
            if now or not 0 <= self._now() - fold.since < WINDOW:
                del self._folds[event, reason]
                if fold.more:
                    why = {} if reason is None else {"reason": reason}
                    fold.tell(f"{event}: the same of more agents", agents=len(fold.more), **why)
