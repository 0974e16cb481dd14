"""Everything that can go wrong with the platform, as a readable family of exceptions.

Messages say what went wrong and hold nothing from a response body but its HTTP status.
"""

from __future__ import annotations

from typing import Final


class UnpodError(Exception):
    """A request that brought no data. ``reason`` is the bounded word for labels."""

    reason = "internal"

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the answer; None where none arrived."""


class Unauthorized(UnpodError):
    """401: the token is missing, wrong or revoked."""

    reason = "unauthorized"


class Forbidden(UnpodError):
    """403."""

    reason = "forbidden"


class NotFound(UnpodError):
    """404: no such agent, organisation or path."""

    reason = "not_found"


class NoAccess(UnpodError):
    """206: the token may not read this agent's space, or the platform refused by its business logic."""

    reason = "no_access"


class BadRequest(UnpodError):
    """400, and every other 4xx without a class of its own."""

    reason = "bad_request"


class RateLimited(UnpodError):
    """429. ``retry_after`` is in seconds, None where the answer named no time."""

    reason = "rate_limited"

    def __init__(self, message: str, *, status: int | None = 429, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class ServerError(UnpodError):
    """5xx. A 500 may mean one poisoned document on the page; 502 to 504 come from a proxy."""

    reason = "server_error"


class Timeout(UnpodError):
    """No complete answer within ``api.timeout``."""

    reason = "timeout"


class ConnectionFailed(UnpodError):
    """Name resolution, connection, TLS, or a connection lost in the middle of an answer."""

    reason = "connection"


class BadResponse(UnpodError):
    """An answer that is no data: not JSON, truncated, redirected, or contradicting itself."""

    reason = "bad_response"


class TooLarge(UnpodError):
    """An answer above ``api.max_response_bytes``, abandoned while it streamed."""

    reason = "too_large"


REASONS: Final = (
    "unauthorized",
    "forbidden",
    "not_found",
    "no_access",
    "bad_request",
    "rate_limited",
    "server_error",
    "timeout",
    "connection",
    "bad_response",
    "too_large",
    "internal",
)
