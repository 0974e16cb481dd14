"""``python -m exporter.health``: whether the exporter on this machine works, for the health checks of containers.

It is told where the exporter listens by the same variables of the environment. An answer of any kind shows that the
exporter works, a refusal too: who may ask is another question. Imports little, since it is started again and again.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

_PATIENCE: Final = 4.0
"""Seconds."""
_PATH: Final = "/-/healthy"
_ANYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - compared, not bound


def problem(environ: Mapping[str, str]) -> str | None:
    """Why the exporter does not work, in words; None: it does."""
    host, _, port = environ.get("UNPOD_EXPORTER_WEB_LISTEN_ADDRESS", ":10130").split()[0].rpartition(":")
    connection = _connection(_ANYWHERE.get(host, host), int(port), environ.get("UNPOD_EXPORTER_WEB_CONFIG_FILE", ""))
    where = f"{connection.host}:{port}"
    try:
        connection.request("GET", _PATH)
        status = connection.getresponse().status
    except TimeoutError:
        return f"no answer on {where} within {_PATIENCE:g} s"
    except (ssl.SSLError, http.client.RemoteDisconnected) as error:
        if isinstance(connection, http.client.HTTPSConnection):
            # It has answered, but wants to see a certificate first.
            return None
        return f"no answer on {where}: {error}"
    except (OSError, http.client.HTTPException) as error:
        return f"no answer on {where}: {error or type(error).__name__}"
    finally:
        connection.close()
    return f"HTTP {status} on {where}{_PATH}" if status >= 500 else None


def _connection(host: str, port: int, web_config: str) -> http.client.HTTPConnection:
    host = host.strip("[]")
    if not web_config or "tls_server_config" not in (
        yaml.safe_load(Path(web_config).read_text(encoding="utf-8")) or {}
    ):
        return http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    # Its certificate names another host, and nothing secret is sent.
    context = ssl._create_unverified_context()  # noqa: S323 - it asks its own host
    return http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=context)


if __name__ == "__main__":
    sys.exit(problem(os.environ))
