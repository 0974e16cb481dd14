"""A state that is damaged: how it is set aside, and what of it can still be told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_ASIDE: Final = re.compile(r"\.corrupt-\d{8}T\d{6}Z(?:-\d+)?")


def set_aside_beside(path: Path) -> list[Path]:
    """The damaged states that were set aside beside the one at ``path``."""
    return [file for file in path.parent.glob("*") if _is_aside(file.name, path.name)]


def _is_aside(name: str, of: str) -> bool:
    return name.startswith(of) and _ASIDE.fullmatch(name.removeprefix(of)) is not None
