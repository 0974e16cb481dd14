"""Asks a database what is to be known before an exporter is started with it, and changes nothing."""

from __future__ import annotations

from exporter.tracking.postgres import schema
from exporter.tracking.postgres.link import Connection, Limits, Link, Target
from exporter.tracking.storage import StorageError


async def probe(target: Target, limits: Limits) -> str:
    """What there is, in words. Raises ``StorageError`` where an exporter could not use it."""
    link = Link(target, limits=limits)
    try:
        return await link.run(_told)
    finally:
        await link.close()


def _told(connection: Connection) -> str:
    version = connection.info.parameter_status("server_version") or "of an unknown version"
    tls = "with TLS" if connection.pgconn.ssl_in_use else "without TLS"
    return f"PostgreSQL {version} answers {tls}, {_state(connection)}"


def _state(connection: Connection) -> str:
    if schema.about(connection) is not None:
        holders = schema.holders(connection)
        return f"the state is in use by {schema.named(holders)}" if holders else "the state is used by nobody"
    (may,) = connection.execute("SELECT has_database_privilege(current_database(), 'CREATE')").fetchone() or (False,)
    if not may:
        raise StorageError(
            "there is no state yet, and this user may not create one; "
            f"GRANT CREATE ON DATABASE {connection.info.dbname} TO {connection.info.user}"
        )
    return "there is no state yet, the exporter creates it"
