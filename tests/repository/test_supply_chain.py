"""What the container image holds is pinned, version and hash, and is what the exporter needs."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


class Pinned(NamedTuple):
    version: str
    hashes: int


@pytest.fixture(scope="module")
def lock(root: Path) -> dict[str, Pinned]:
    text = (root / "requirements.lock").read_text()
    entries = re.findall(
        r"^([\w.-]+)==([^\s;]+)[^\n]*\\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE
    )
    assert len(entries) == len(re.findall(r"^\w", text, re.MULTILINE))
    return {name: Pinned(version, hashes.count("--hash=")) for name, version, hashes in entries}


@pytest.fixture(scope="module")
def needed(root: Path) -> dict[str, list[Requirement]]:
    """What the exporter in the container requires, and what that requires, as far as it is installed here."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    found: dict[str, list[Requirement]] = {}
    open_ = [
        (Requirement(text), "") for text in project["dependencies"] + project["optional-dependencies"]["postgresql"]
    ]
    while open_:
        requirement, asked = open_.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked}):
            continue
        name = canonicalize_name(requirement.name)
        # What each extra needs is told with what is needed anyway.
        for extra in ("", *requirement.extras) if name not in found else requirement.extras:
            open_ += [(Requirement(text), extra) for text in distribution(name).requires or ()]
        found.setdefault(name, []).append(requirement)
    return found


def test_all_that_is_needed_is_pinned_with_hashes(
    lock: dict[str, Pinned], needed: dict[str, list[Requirement]]
) -> None:
    """`make lock` mends it."""
    assert needed.keys() <= lock.keys()
    assert all(pinned.hashes for pinned in lock.values())


def test_each_pin_is_a_version_that_is_wanted(lock: dict[str, Pinned], needed: dict[str, list[Requirement]]) -> None:
    wrong = {
        name: wants for name, wants in needed.items() if not all(lock[name].version in one.specifier for one in wants)
    }
    assert wrong == {}


def test_nothing_is_pinned_that_is_not_needed_somewhere(
    root: Path, lock: dict[str, Pinned], needed: dict[str, list[Requirement]]
) -> None:
    """What is needed elsewhere only has a marker."""
    text = (root / "requirements.lock").read_text()
    elsewhere = set(re.findall(r"^([\w.-]+)==[^\s;]+ ; ", text, re.MULTILINE))
    assert lock.keys() - needed.keys() <= elsewhere


def test_the_lock_names_no_place_to_fetch_from(root: Path) -> None:
    assert "://" not in (root / "requirements.lock").read_text()


def test_the_image_is_made_of_the_lock(root: Path) -> None:
    text = (root / "Dockerfile").read_text()
    assert "--require-hashes --only-binary :all: -r requirements.lock" in text
