import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

CHECKS = {
    "the walls between the rooms stand": ["lint-imports"],
    "the types are right": ["mypy", "--strict"],
    "the linter finds nothing": ["ruff", "check", "."],
    "the code is formatted": ["ruff", "format", "--check", "."],
}


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS.keys())
def test_it_holds_that(root: Path, command: list[str]) -> None:
    tool = Path(sys.executable).parent / command[0]
    environ = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run([tool, *command[1:]], cwd=root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_room_has_a_wall(root: Path) -> None:
    """A new room without a contract would be free to import everything."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    walled = {module for contract in contracts for module in contract.get("source_modules", ())}
    rooms = {f"exporter.{path.parent.name}" for path in (root / "exporter").glob("*/__init__.py")}
    assert rooms
    assert rooms <= walled
    assert all(
        "exporter.*" in contract["forbidden_modules"] for contract in contracts if contract["type"] == "forbidden"
    )
