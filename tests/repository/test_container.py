import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter import health
from exporter.config.model import State


@pytest.fixture
def stages(root: Path) -> list[list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile."""

    def instructions() -> Iterator[tuple[str, str]]:
        text = re.sub(r"^#.*\n", "", (root / "Dockerfile").read_text(), flags=re.MULTILINE)
        for line in filter(None, text.replace("\\\n", " ").splitlines()):
            word, _, rest = line.partition(" ")
            yield word, rest

    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


@pytest.fixture
def final(stages: list[list[tuple[str, str]]]) -> dict[str, list[str]]:
    """The instructions of the stage that runs, by word."""
    grouped: dict[str, list[str]] = {}
    for word, rest in stages[-1]:
        grouped.setdefault(word, []).append(rest)
    return grouped


def test_the_image_runs_the_exporter_by_default(final: dict[str, list[str]]) -> None:
    assert json.loads(final["ENTRYPOINT"][0]) == ["unpod-exporter"]
    assert json.loads(final["CMD"][0]) == ["run"]
    assert final["EXPOSE"] == ["10130"]


def test_it_runs_as_a_number_that_is_not_root(final: dict[str, list[str]]) -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", final["USER"][-1])


def test_the_state_is_in_a_volume_of_its_user_which_others_of_the_group_0_can_use(final: dict[str, list[str]]) -> None:
    (volume,) = final["VOLUME"]
    assert f"UNPOD_EXPORTER_STATE_PATH={volume}/{State().path}" in final["ENV"]
    user = final["USER"][-1].partition(":")[0]
    assert any(f"install -d -o {user} -g 0 -m 0770" in run and run.endswith(volume) for run in final["RUN"])


def test_what_builds_is_not_what_runs(stages: list[list[tuple[str, str]]], final: dict[str, list[str]]) -> None:
    assert len(stages) == 2
    assert stages[0][0][1].partition(" AS ")[0] == stages[1][0][1]
    assert all(copied.startswith("--from=build ") for copied in final["COPY"])
    assert not any("pip" in run for run in final["RUN"])


def test_its_health_is_asked_of_the_exporter_without_another_program(final: dict[str, list[str]]) -> None:
    (check,) = final["HEALTHCHECK"]
    command = json.loads(check[check.index("CMD ") + 4 :])
    assert command == ["python", "-m", health.__name__]


def test_no_secret_is_in_the_image(stages: list[list[tuple[str, str]]], root: Path) -> None:
    assert not any(re.search(r"TOKEN|SECRET|PASSWORD", rest) for stage in stages for _, rest in stage)
    lines = (root / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"


def test_all_that_is_copied_is_let_into_the_build(stages: list[list[tuple[str, str]]], root: Path) -> None:
    allowed = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for word, rest in stages[0] if word == "COPY" for source in rest.split()[:-1]}
    assert copied == allowed
    assert all((root / source).exists() for source in copied)
