"""Each alert has a runbook, and the pages say what the rules do."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.alerts.promtool import loaded
from tests.alerts.test_vocabulary import RECORDED, RUNBOOKS, queries

ROOT = Path(__file__).parents[2]
HEADINGS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("document", ROOT / "prometheus" / "document.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_page_of_alerts_is_what_the_rules_say() -> None:
    assert (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8") == module().page(), "make docs renews it"


def test_each_threshold_is_on_the_page_with_its_meaning() -> None:
    thresholds = {name.removeprefix("unpod:threshold:") for name in RECORDED if name.startswith("unpod:threshold:")}
    told = module()._thresholds()
    assert set(told) == thresholds
    assert all(value and why.endswith(".") for value, why in told.values())


def test_there_is_a_runbook_for_each_alert_and_no_other() -> None:
    assert [page.stem for page in RUNBOOKS] == sorted(loaded())


def test_the_number_of_alerts_is_told() -> None:
    assert f"[{len(loaded())} alerts]" in (ROOT / "docs" / "alerting.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_says_what_it_means_what_to_look_at_and_what_to_do(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## .*$", text, re.M) == HEADINGS
    assert queries(page)
    used = set(re.findall(r"unpod[:_]threshold:(\w+)", loaded()[page.stem]["expr"]))
    assert used == set(re.findall(r"unpod:threshold:(\w+)", text)), "it names each threshold, and no other"
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", loaded())
def test_an_alert_has_all_that_a_person_needs(name: str) -> None:
    rule = loaded()[name]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["labels"]["area"] in module().AREAS
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"https://runbooks.example/{name}.md"
    assert "  " not in rule["annotations"]["description"]


def test_every_agent_that_is_known_has_every_threshold_of_agents() -> None:
    """The second group of thresholds.yml is the same sentence for each threshold of agents."""
    text = (ROOT / "prometheus" / "rules" / "thresholds.yml").read_text(encoding="utf-8")
    second = text.split("- name: unpod-thresholds-by-agent\n    rules:\n")[1]
    names = re.findall(r"record: agent:unpod_threshold:(\w+)", second)
    assert second == "".join(
        f"      - record: agent:unpod_threshold:{name}\n        expr: |-\n"
        f'          unpod:threshold:{name}{{agent!=""}}\n            or on (agent)\n'
        f'          agent:unpod_agent_known:zero + on () group_left () unpod:threshold:{name}{{agent=""}}\n'
        for name in names
    )


def test_all_that_is_measured_of_agents_is_held_while_they_cannot_be_polled() -> None:
    """The same sentence for each: what is measured now, else the rule's own last sample."""
    text = (ROOT / "prometheus" / "rules" / "recording.yml").read_text(encoding="utf-8")
    group = text.split("## Work, held")[1].split("- name: unpod-agents-work")[0]
    rules = re.findall(r"- record: (\S+)\n +expr: \|-\n((?: {10}.*\n)+)", group)
    assert len(rules) == group.count("- record:") > 15
    for name, expression in rules:
        assert expression.endswith(
            "            unless on (job, agent) agent:unpod_agent_unseen:last1h\n            or\n"
            f"          {name}\n            and on (job, agent) agent:unpod_agent_unseen:last1h\n"
        )
