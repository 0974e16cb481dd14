"""How to reach the platform, and how much to ask of it."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a client; all have defaults."""

    base_url: str = "https://unpod.ai"
    path_prefix: str = "/api/v2/platform"
    org_handle: str | None = None
    timeout: float = 40.0
    """Seconds of one request, from connecting to the last byte; waiting for its turn is not counted."""
    page_size: int = 200
    """Tasks to ask for at once, at most: for those who walk the pages."""
    max_concurrent_requests: int = 2
    requests_per_minute: int = 60
    """No 60 seconds see more requests begin."""
    max_response_bytes: int = 64 * 2**20
    """After decompression."""
    ca_file: str | None = None
    """Certificates to trust instead of the system's."""
    insecure_skip_verify: bool = False
    proxy_url: str | None = None
    user_agent: str = "unpod-exporter"
