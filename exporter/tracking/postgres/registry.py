"""The replicas and their leases in PostgreSQL.

A lease is the row of an agent that names its holder, and lasts as long as the row of that replica is renewed: so a
heartbeat writes one row, however many agents there are. All times are the database's (``clock_timestamp()``).

What keeps two from having the same agent:

- Whoever takes what a dead replica holds locks the row of that replica first. So either it was dead when its leases
  were taken, and sees as much after its next renewal; or it renewed before, and is not dead.
- Whoever was dead for so long that its requests count no more is forgotten by whoever renews next, and joins anew.
- Whoever commits locks the lease, and must hold it by the epoch under which the agent was loaded (``fence``).
  Whoever takes a lease waits for no lock: it is skipped, and tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, LiteralString

from exporter.tracking.postgres.link import Connection, Limits, Link, Target
from exporter.tracking.replicas.quotas import Lease, Replica, View
from exporter.tracking.replicas.registry import REMEMBERED, Change, Me, Tenure
from exporter.tracking.storage import StateTaken

_JOIN: Final[LiteralString] = """
INSERT INTO unpod_exporter.replicas (id, name, choice, joined, expires, share)
VALUES (%s, %s, %s, clock_timestamp(), clock_timestamp() + make_interval(secs => %s), 0)
ON CONFLICT (id) DO NOTHING
"""
_RENEW: Final[LiteralString] = """
WITH gone AS (
    SELECT id FROM unpod_exporter.replicas
    WHERE expires + make_interval(secs => %(remembered)s) <= clock_timestamp() AND id <> %(replica)s
    FOR UPDATE SKIP LOCKED
), forgotten AS (
    DELETE FROM unpod_exporter.replicas USING gone WHERE replicas.id = gone.id
)
UPDATE unpod_exporter.replicas SET expires = clock_timestamp() + make_interval(secs => %(seconds)s), choice = %(choice)s
WHERE id = %(replica)s
"""
_REPLICAS: Final[LiteralString] = """
SELECT id, name, choice, expires > clock_timestamp(), share FROM unpod_exporter.replicas ORDER BY joined, id
"""
_LEASES: Final[LiteralString] = "SELECT agent, holder, epoch FROM unpod_exporter.leases"
_ALONE: Final[LiteralString] = "SELECT FROM unpod_exporter.state FOR NO KEY UPDATE SKIP LOCKED"
_DEAD: Final[LiteralString] = """
SELECT id FROM unpod_exporter.replicas WHERE expires <= clock_timestamp() FOR UPDATE SKIP LOCKED
"""
_SHARE: Final[LiteralString] = "UPDATE unpod_exporter.replicas SET share = %s WHERE id = %s"
_TELL: Final[LiteralString] = """
INSERT INTO unpod_exporter.leases (agent) SELECT unnest(%s::text[]) ON CONFLICT (agent) DO NOTHING
"""
_TAKE: Final[LiteralString] = """
WITH free AS (
    SELECT agent FROM unpod_exporter.leases
    WHERE agent = ANY (%(agents)s) AND (
        holder IS NULL OR holder = ANY (%(dead)s) OR holder NOT IN (SELECT id FROM unpod_exporter.replicas)
    )
    FOR UPDATE SKIP LOCKED
)
UPDATE unpod_exporter.leases AS lease SET holder = %(replica)s, epoch = nextval('unpod_exporter.epochs')
FROM free WHERE lease.agent = free.agent
"""
_RELEASE: Final[LiteralString] = """
UPDATE unpod_exporter.leases SET holder = NULL WHERE holder = %s AND agent = ANY (%s)
"""
_FORGET: Final[LiteralString] = "DELETE FROM unpod_exporter.leases WHERE holder = %s AND agent = ANY (%s)"
_RELEASE_ALL: Final[LiteralString] = "UPDATE unpod_exporter.leases SET holder = NULL WHERE holder = %s"
_LEAVE: Final[LiteralString] = """
UPDATE unpod_exporter.replicas SET expires = clock_timestamp(), share = least(share, %s) WHERE id = %s
"""
_FENCE: Final[LiteralString] = """
SELECT FROM unpod_exporter.leases WHERE agent = %s AND holder = %s AND epoch = %s FOR NO KEY UPDATE
"""


class Leases:
    """``Registry`` in the database at ``target``, whose state is open already."""

    def __init__(self, target: Target, *, limits: Limits, elapsed: Callable[[], float]) -> None:
        self._link = Link(target, limits=limits, elapsed=elapsed)

    async def join(self, me: Me, seconds: float) -> View:
        return await self._done(_JOIN, me.id, me.name, me.choice, seconds)

    async def renew(self, me: Me, seconds: float) -> View | None:
        def work(connection: Connection) -> View | None:
            values = {"replica": me.id, "choice": me.choice, "seconds": seconds, "remembered": REMEMBERED}
            known = connection.execute(_RENEW, values).rowcount
            return _view(connection) if known else None

        return await self._link.run(work)

    async def change(self, me: Me, decide: Callable[[View], Change]) -> View | None:
        def work(connection: Connection) -> View | None:
            with connection.transaction():
                if connection.execute(_ALONE).fetchone() is None:
                    return None
                # From here on they cannot come back to life until all is done.
                dead = [one for (one,) in connection.execute(_DEAD)]
                change = decide(_view(connection))
                connection.execute(_SHARE, [change.share, me.id])
                if change.tell:
                    connection.execute(_TELL, [list(change.tell)])
                if change.take:
                    connection.execute(_TAKE, {"agents": list(change.take), "dead": dead, "replica": me.id})
            return _view(connection)

        return await self._link.run(work)

    async def release(self, me: Me, agents: Collection[str]) -> View:
        return await self._done(_RELEASE, me.id, list(agents))

    async def forget(self, me: Me, agents: Collection[str]) -> View:
        return await self._done(_FORGET, me.id, list(agents))

    async def leave(self, me: Me, begun: int) -> None:
        def work(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(_RELEASE_ALL, [me.id])
                connection.execute(_LEAVE, [begun, me.id])

        await self._link.run(work)

    async def close(self) -> None:
        await self._link.close()

    async def _done(self, statement: LiteralString, *values: object) -> View:
        def work(connection: Connection) -> View:
            connection.execute(statement, values)
            return _view(connection)

        return await self._link.run(work)


def fence(tenure: Tenure) -> Callable[[Connection, str], None]:
    """For ``PostgresStorage``: lets commit whoever still holds what it has loaded."""

    def check(connection: Connection, agent: str) -> None:
        epoch = tenure.epochs.get(agent)
        if epoch is None or connection.execute(_FENCE, [agent, tenure.replica, epoch]).fetchone() is None:
            raise StateTaken("another replica polls this agent now")

    return check


def _view(connection: Connection) -> View:
    replicas = [
        Replica(id=one, name=name, choice=choice, alive=alive, share=share)
        for one, name, choice, alive, share in connection.execute(_REPLICAS)
    ]
    return View(tuple(replicas), tuple(Lease(*row) for row in connection.execute(_LEASES)))
