"""Cases for `promtool test rules`: series in, and exactly the alerts that must fire.

Values are written as promtool reads them: ``0+5x60`` begins at 0 and rises by 5 sixty times, ``_x5`` is five times
nothing, ``stale`` ends a series. Time begins at 0; one step is a minute unless a case says otherwise.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

RULES = tuple(sorted((Path(__file__).parents[2] / "prometheus" / "rules").glob("*.yml")))
ORDER = (
    "unpod-thresholds",
    "more",
    "unpod-agents",
    "unpod-thresholds-by-agent",
    "unpod-agents-work",
    "unpod-agents-calls",
    "unpod-agents-past",
    "unpod-exporters",
    "unpod-exporter-alerts",
    "unpod-data-alerts",
    "unpod-work-alerts",
    "unpod-call-alerts",
    "unpod-money-alerts",
)
"""In which promtool evaluates the groups; without it in any order, where what is looked at may be a step old."""
Series = Mapping[str, str]


class Fires(NamedTuple):
    """An alert that must fire, with its labels besides those of its rule, and what it says."""

    alert: str
    labels: Mapping[str, str]
    says: str | None = None
    """The whole description; None: it is told in another case."""


class Case(NamedTuple):
    """At ``at`` exactly these alerts fire, and no other."""

    name: str
    series: Series
    at: str
    fires: Sequence[Fires] = ()
    step: str = "1m"
    rules: Sequence[Mapping[str, str]] = ()
    """More recording rules, such as an agent's own threshold."""


def loaded() -> dict[str, dict[str, Any]]:
    """The alerting rules by name."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def selector(name: str, **labels: str) -> str:
    """A series as promtool reads it."""
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def exporter(steps: int, *, instance: str = "a", up: str | None = None, shard: str = "0", of: str = "1") -> Series:
    """An exporter that Prometheus scrapes; with ``up`` its series end where that is no longer 1."""
    labels = {"job": "unpod", "instance": instance}
    up = up or f"1x{steps}"
    return {
        selector("up", **labels): up,
        selector("unpod_exporter_shard_info", shard_index=shard, shard_count=of, **labels): _shown_while(up),
    }


def _shown_while(up: str) -> str:
    """1 where ``up`` is 1, and nothing where it is 0."""
    return re.sub(r"\b0(x\d+)?", lambda found: f"stale _{found[1]}" if found[1] else "stale", up)


def polled(steps: int, *agents: str, instance: str = "a", up: str | None = None, step: int = 60) -> dict[str, str]:
    """Agents whose polls succeed, in the eyes of one exporter; ``up`` replaces the values of ``unpod_agent_up``."""
    found: dict[str, str] = {}
    for agent in agents or ("sales",):
        labels = {"job": "unpod", "instance": instance, "agent": agent}
        found |= {
            selector("unpod_agent_up", **labels): up or f"1x{steps}",
            selector("unpod_agent_last_success_timestamp_seconds", **labels): f"0+{step}x{steps}",
            selector("unpod_agent_history_complete", **labels): f"1x{steps}",
            selector("unpod_agent_history_read_ratio", **labels): f"1x{steps}",
        }
    return found


def of(agent: str = "sales", instance: str = "a", **families: str | Mapping[str, str]) -> dict[str, str]:
    """Families of an agent: values, or values by further labels (``status=failed,execution_type=call``)."""
    found: dict[str, str] = {}
    for name, values in families.items():
        for more, text in values.items() if isinstance(values, Mapping) else (("", values),):
            labels = dict(pair.split("=", 1) for pair in more.split(",") if pair)
            found[selector(f"unpod_{name}", job="unpod", instance=instance, agent=agent, **labels)] = text
    return found


def judged(folder: Path, case: Case) -> subprocess.CompletedProcess[str]:
    """What promtool has to say about a case."""
    folder.mkdir(exist_ok=True)
    more = folder / "more.yml"
    more.write_text(yaml.safe_dump({"groups": [{"name": "more", "rules": list(case.rules)}]}))
    rules = loaded()
    test = {
        "interval": case.step,
        "name": case.name,
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": case.at,
                "exp_samples": [{"labels": _alerts(fires, rules), "value": 1} for fires in case.fires],
            }
        ],
        "alert_rule_test": list(_told(case, rules)),
    }
    file = folder / "test.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [*map(str, RULES), str(more)],
                "group_eval_order": list(ORDER),
                "evaluation_interval": case.step,
                "tests": [test],
            },
            allow_unicode=True,
        )
    )
    return subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)


def _alerts(fires: Fires, rules: Mapping[str, Any]) -> str:
    labels = {"alertname": fires.alert, "alertstate": "firing", **rules[fires.alert]["labels"], **fires.labels}
    return selector("ALERTS", **labels)


def _told(case: Case, rules: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Each alert of which a case tells the words, with all that fire under its name."""
    for name in dict.fromkeys(fires.alert for fires in case.fires if fires.says is not None):
        rule = rules[name]
        yield {
            "eval_time": case.at,
            "alertname": name,
            "exp_alerts": [
                {
                    "exp_labels": {**rule["labels"], **fires.labels},
                    "exp_annotations": {
                        "summary": _filled(rule["annotations"]["summary"], fires.labels),
                        "description": fires.says,
                        "runbook_url": rule["annotations"]["runbook_url"],
                    },
                }
                for fires in case.fires
                if fires.alert == name
            ],
        }


def _filled(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], template)
