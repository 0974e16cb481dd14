"""What tracking asks of a log, and how defects are told in it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any, Protocol


class Log(Protocol):
    """A structured logger."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


def whereabouts(error: Exception) -> str:
    """What a defect is, and where: not its message, since that may hold a piece of an answer."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join([type(error).__name__, *(f"{Path(at.filename).name}:{at.lineno}" for at in reversed(frames))])
