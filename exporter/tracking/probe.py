"""Looks at a state file before an exporter is started with it, and touches nothing."""

from __future__ import annotations

from pathlib import Path

from exporter.tracking import files
from exporter.tracking.sqlite import refuse_stranger
from exporter.tracking.storage import StorageError


def probe(path: Path) -> str:
    """What there is, in words. Raises ``StorageError`` where an exporter could not use it, as far as can be told."""
    named = f"state file {path}"
    try:
        refuse_stranger(path, named)
        is_there = path.exists()
        obstacle = files.obstacle(_first_to_be_made(path))
    except OSError as error:
        raise StorageError(f"{named} cannot be reached: {error.strerror}") from error
    if obstacle is not None:
        raise StorageError(f"{named} cannot be {'written' if is_there else 'created'}: {obstacle}")
    return f"{path} can be written" if is_there else f"{path} is not there yet, the exporter creates it"


def _first_to_be_made(path: Path) -> Path:
    """The state, or the first of the folders above it that is not there: its folders are made with it."""
    whole = path.absolute()
    return next(one for one in (whole, *whole.parents) if one.parent.exists())
