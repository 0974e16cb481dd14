from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import postgres
from tests.prometheus.stage import Stage, in_background


@pytest.fixture(scope="session")
def rule_files() -> list[Path]:
    """The files of rules for Prometheus that the project ships."""
    files = sorted((Path(__file__).parents[1] / "prometheus").rglob("*.y*ml"))
    return [path for path in files if "groups" in (yaml.safe_load(path.read_text(encoding="utf-8")) or {})]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, rule_files: list[Path]) -> Iterator[Stage]:
    """The stage for all tests that only look: see ``tests.prometheus.stage``. Mark them with ``xdist_group("stage")``,
    so that one process sets it up for all of them."""
    with in_background(tmp_path_factory.mktemp("stage"), rules=rule_files) as stage:
        yield stage


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server, which all tests of a process share: nobody stops it or changes its settings."""
    with postgres.running() as server:
        yield server


@pytest.fixture
def database(postgres_server: postgres.Server) -> Iterator[str]:
    """The URL of a PostgreSQL database of the test's own."""
    with postgres_server.lent() as url:
        yield url
