"""Faults of the platform by what they leave of the data, of those that no setting is needed for."""

from __future__ import annotations

BREAKING = (
    "server_error",
    "bad_gateway",
    "unavailable",
    "gateway_timeout",
    "rate_limited",
    "unauthorized",
    "forbidden",
    "not_found",
    "no_access",
    "business_error",
    "bad_request",
    "status_in_body",
    "html",
    "redirect",
    "reset",
    "close",
    "truncated",
    "wrong_json",
    "missing_tasks",
    "short_page",
    "data_is_object",
)
"""Faults that leave no data."""
HARMLESS = ("nan", "control_characters", "lone_surrogate", "bad_utf8", "duplicate_tasks")
"""Faults through which the data can still be told."""
