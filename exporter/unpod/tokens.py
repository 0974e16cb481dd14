"""Where the API token comes from. It is shown by nothing: no repr, no message, no log."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Final, Protocol

from exporter.unpod.errors import Unauthorized

_BARE: Final = re.compile(r"[!-~]+")
_LONGEST: Final = 8192
"""Bytes that are read of a token file."""

_Stamp = tuple[int, int, int, int]


class Token(Protocol):
    """A source of the token, asked before every request."""

    def value(self) -> str:
        """The bare token.

        Raises:
            Unauthorized: There is no usable token; the message says why, and holds nothing of it.
        """
        ...


def _bare(raw: str, origin: str) -> str:
    token = raw.strip()
    if not token:
        raise Unauthorized(f"{origin} is empty: an API token of the platform belongs there")
    if not _BARE.fullmatch(token):
        raise Unauthorized(
            f"{origin} holds a space, a line break or another character that no token has:"
            ' the bare token belongs there, without a word such as "Token" before it'
        )
    return token


class StaticToken:
    """A token that was given as text.

    Raises:
        Unauthorized: The text is empty, or can be no token.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = _bare(value, "the API token")

    def value(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "StaticToken(<secret>)"


class FileToken:
    """A token in a file, read again whenever the file changes; asking raises Unauthorized while it is of no use."""

    __slots__ = ("_path", "_stamp", "_value")

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        self._stamp: _Stamp | None = None
        self._value = ""

    def value(self) -> str:
        origin = f"the token file {self._path}"
        try:
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._value, self._stamp = _bare(self._read(), origin), stamp
        except OSError as error:
            self._stamp = None
            raise Unauthorized(f"{origin} cannot be read: {error.strerror or type(error).__name__}") from None
        return self._value

    def _read(self) -> str:
        with self._path.open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", "replace")

    def _stamp_now(self) -> _Stamp:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino, status.st_size, status.st_ctime_ns

    def __repr__(self) -> str:
        return f"FileToken({str(self._path)!r})"
