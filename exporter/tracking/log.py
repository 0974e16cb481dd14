"""What tracking asks of a log."""

from __future__ import annotations

from typing import Any, Protocol


class Log(Protocol):
    """A structured logger."""

    def debug(self, event: str, **fields: Any) -> Any: ...
    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...
