"""Who is let in: the web config in force, read again when its files change, and a log of whom it kept out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from exporter.config.access import WebConfig, load_web
from exporter.config.loading import ConfigError
from exporter.tracking.log import Log
from exporter.web.access import Policy, Tls
from exporter.web.pages import Certificate

_LOOK: Final = 1.0
"""Seconds between two looks at whether a file has changed."""
_FOLD: Final = 60.0
"""Seconds between two log lines that say the same."""

_Stamps = tuple[tuple[int, ...] | None, ...]


class Entrance:
    """The policy in force: that of the web config at ``path``; None: everybody is let in.

    ``told`` hears what is wrong with a file that has changed; nothing: it is good. A bad one changes nothing, for to be
    let in by no rule is worse than by an old one. Raises ConfigError where it is bad from the start.
    """

    def __init__(
        self, path: Path | None, log: Log, *, elapsed: Callable[[], float], told: Callable[[str], None]
    ) -> None:
        self._path = path
        self._log = log
        self._elapsed = elapsed
        self._told = told
        self._looked = elapsed()
        self._config = load_web(path) if path is not None else WebConfig()
        self._policy = policy_of(self._config)
        self._stamps = self._changing = _stamps(self._config.files)

    def policy(self) -> Policy:
        """The policy now. The files are looked at now and then, and read once they have stayed the same for a look."""
        now = self._elapsed()
        if self._path is not None and now - self._looked >= _LOOK:
            self._looked = now
            found = _stamps(self._config.files)
            if found != self._stamps and found == self._changing:
                self._renew(found)
            self._changing = found
        return self._policy

    def certificate(self) -> Certificate | None:
        """That of the web config in force; None: there is none, or it cannot be told how long it can be used."""
        valid = self._config.tls.validity if self._config.tls is not None else None
        return None if valid is None else Certificate(begins=valid.begins, ends=valid.ends)

    async def watch(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Looks at the files although nobody asks, so that a user who has been taken away is not let in once more."""
        while self._path is not None:
            self.policy()
            await sleep(_LOOK)

    def read(self) -> Callable[[], None]:
        """Reads the files now; what it gives puts them in force. Raises ConfigError."""
        if self._path is None:
            return lambda: None
        if not self._path.is_file() or not self._path.read_text(errors="replace").strip():
            # A file that is just being written; to take it for one without rules would open the door.
            raise ConfigError((f"{self._path}: is not there, or empty; the rules before it stay in force",))
        config = load_web(self._path)
        return lambda: self._admit(config)

    def _admit(self, config: WebConfig) -> None:
        before, after = self._policy, policy_of(config)
        self._config, self._policy = config, after
        self._stamps = _stamps(config.files)
        self._told("")
        if _rules(before) != _rules(after):
            self._log.info("web config in force", tls=after.tls is not None, users=len(after.users))

    def _renew(self, stamps: _Stamps) -> None:
        self._stamps = stamps
        try:
            self.read()()
        except (ConfigError, OSError) as error:
            self._log.error("web config not usable, the one before stays in force", error=str(error))
            self._told(str(error))


class Refusals:
    """A log line for each reason why somebody was kept out, and no more of the same for a while."""

    def __init__(self, log: Log, elapsed: Callable[[], float]) -> None:
        self._log = log
        self._elapsed = elapsed
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def __call__(self, reason: str, peer: str) -> None:
        now = self._elapsed()
        if now - self._told.get(reason, -_FOLD) < _FOLD:
            self._untold[reason] = self._untold.get(reason, 0) + 1
            return
        self._told[reason] = now
        untold = self._untold.pop(reason, 0)
        self._log.warning("refused", reason=reason, peer=peer, **({"times_before": untold} if untold else {}))


def policy_of(config: WebConfig) -> Policy:
    """What the server is told of a web config."""
    tls, limit = config.tls, config.rate_limit
    return Policy(
        tls=None if tls is None else Tls(tls.context, tls.identity, tls.client_allowed_sans),
        users={name: hashed.reveal() for name, hashed in config.users.items()},
        headers=config.headers,
        rate_limit=(limit.interval, limit.burst) if limit is not None else None,
    )


def _rules(policy: Policy) -> tuple[object, ...]:
    """What two policies are compared by: an SSLContext equals none but itself."""
    return (policy.tls and policy.tls.identity, policy.users, policy.headers, policy.rate_limit)


def _stamps(files: tuple[Path, ...]) -> _Stamps:
    return tuple(map(_stamp, files))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size, status.st_ctime_ns
