"""The state in PostgreSQL. Importing this imports psycopg, which only who uses it needs to have."""

from exporter.tracking.postgres.link import Limits, Link, Target
from exporter.tracking.postgres.probe import probe
from exporter.tracking.postgres.registry import Leases, fence
from exporter.tracking.postgres.storage import PostgresStorage

__all__ = ["Leases", "Limits", "Link", "PostgresStorage", "Target", "fence", "probe"]
