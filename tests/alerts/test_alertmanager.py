"""The example for Alertmanager: who is told, and what is muted beside something worse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.alerts.promtool import loaded
from tests.alerts.running import SHIPPED, alertmanager, inbox
from tests.service.running import until

RECEIVERS = {"critical": "on-call", "warning": "team", "info": "notes"}
A = {"job": "unpod", "instance": "a:10130"}
SALES = {"job": "unpod", "agent": "sales"}
SUPPORT = {"job": "unpod", "agent": "support"}
Alert = tuple[str, Mapping[str, str]]
INHIBITED: Mapping[str, tuple[Alert, tuple[Alert, ...], tuple[Alert, ...]]] = {
    "the platform mutes its agents, and the exporter's complaints of it": (
        ("UnpodApiDown", {"job": "unpod"}),
        (
            ("UnpodAgentDown", SALES),
            ("UnpodDataStale", SUPPORT),
            ("UnpodNoCallsEnded", SALES),
            ("UnpodApiErrors", A),
            ("UnpodScheduleLag", A),
        ),
        (
            ("UnpodTokenRejected", {"job": "unpod"}),
            ("UnpodStateCommitFailing", A),
            ("UnpodAgentDown", {"job": "other", "agent": "sales"}),
        ),
    ),
    "an exporter that is down mutes that nobody shows its agents, and no other exporter": (
        ("UnpodExporterDown", {"job": "unpod", "shard_index": "0"}),
        (("UnpodAgentUnseen", SALES), ("UnpodExporterReplicaDown", A)),
        (("UnpodAgentUnseen", {"job": "other", "agent": "sales"}), ("UnpodConfigReloadFailed", A)),
    ),
    "a missing exporter mutes that nobody shows its agents": (
        ("UnpodExporterAbsent", {}),
        (("UnpodAgentUnseen", SALES),),
        (("UnpodNoCallsEnded", SUPPORT),),
    ),
    "a rejected token mutes that agents are down": (
        ("UnpodTokenRejected", {"job": "unpod"}),
        (("UnpodAgentDown", SALES), ("UnpodDataStale", SUPPORT)),
        (
            ("UnpodTasksOverdue", {"job": "unpod", "agent": "mail"}),
            ("UnpodAgentDown", {"job": "other", "agent": "sales"}),
        ),
    ),
    "an agent that nobody shows mutes all that is said of it, and nothing of others": (
        ("UnpodAgentUnseen", SALES),
        (("UnpodAgentDown", SALES), ("UnpodDataStale", SALES), ("UnpodFailuresBurnFast", SALES)),
        (("UnpodAgentDown", SUPPORT),),
    ),
    "an agent that cannot be polled mutes all else that is said of it": (
        ("UnpodAgentDown", SALES),
        (
            ("UnpodDataStale", SALES),
            ("UnpodCostRateHigh", SALES),
            ("UnpodTaskStuck", {**SALES, "status": "processing"}),
        ),
        (("UnpodDataStale", SUPPORT),),
    ),
    "an agent that may not be read is down for no other reason": (
        ("UnpodAgentNoAccess", SALES),
        (("UnpodAgentDown", SALES), ("UnpodTasksOverdue", SALES)),
        (("UnpodAgentDown", SUPPORT),),
    ),
    "what is critical mutes what is less, of the same agent and area": (
        ("UnpodNoCallsEnded", SALES),
        (("UnpodBacklogGrowing", SALES), ("UnpodTaskStuck", {**SALES, "status": "in_progress"})),
        (("UnpodBacklogGrowing", SUPPORT), ("UnpodSilentCalls", SALES), ("UnpodFailuresBurnFast", SUPPORT)),
    ),
    "what is critical mutes what is less, of the same instance": (
        ("UnpodStateCommitFailing", A),
        (("UnpodStateSetAside", A), ("UnpodUnknownValues", {**A, "field": "cost"})),
        (("UnpodStateSetAside", {"job": "unpod", "instance": "b:10130"}),),
    ),
}


def amtool(*words: str) -> str:
    done = subprocess.run(["amtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amtool_finds_the_example_good() -> None:
    assert "SUCCESS" in amtool("check-config", str(SHIPPED))


@pytest.mark.parametrize("alert", loaded())
def test_each_alert_goes_to_who_is_told_of_its_severity(alert: str) -> None:
    labels = {"alertname": alert, **loaded()[alert]["labels"]}
    pairs = [f"{name}={value}" for name, value in labels.items()]
    told = amtool("config", "routes", "test", f"--config.file={SHIPPED}", *pairs)
    assert told.split() == [RECEIVERS[labels["severity"]]]


@pytest.mark.parametrize(("worse", "muted", "heard"), INHIBITED.values(), ids=INHIBITED)
async def test_what_is_worse_mutes(
    tmp_path: Path, worse: Alert, muted: tuple[Alert, ...], heard: tuple[Alert, ...]
) -> None:
    rules = loaded()
    labels = [{"alertname": name, **rules[name]["labels"], **more} for name, more in (worse, *muted, *heard)]
    async with inbox() as found, alertmanager(tmp_path, found.url) as manager:
        await manager.post(labels)

        async def settled() -> list[dict[str, str]]:
            known = await manager.alerts()
            assert len(known) == len(labels)
            return [one["labels"] for one in known if one["status"]["inhibitedBy"]]

        await until(settled)
        wanted = labels[1 : 1 + len(muted)]
        assert sorted(map(str, await settled())) == sorted(str(dict(sorted(one.items()))) for one in wanted)


async def test_the_webhook_writes_a_line_for_each_alert(tmp_path: Path) -> None:
    script = SHIPPED.with_name("webhook.py")
    lines = subprocess.run(  # noqa: ASYNC221 - nobody else waits
        [sys.executable, "-c", _ONE_NOTIFICATION, script], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert lines == [
        "200",
        "400",
        "on-call: FIRING critical UnpodApiDown: The Unpod platform does not answer",
        "on-call: RESOLVED critical UnpodApiDown: The Unpod platform does not answer",
    ]


_ONE_NOTIFICATION = """
import contextlib, io, json, runpy, sys, threading, urllib.error, urllib.request
module = runpy.run_path(sys.argv[1])
server = module["ThreadingHTTPServer"](("127.0.0.1", 0), module["Webhook"])
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/on-call"
labels = {"alertname": "UnpodApiDown", "severity": "critical"}
alert = {"labels": labels, "annotations": {"summary": "The Unpod platform does not answer"}}
body = json.dumps({"alerts": [{**alert, "status": status} for status in ("firing", "resolved")]}).encode()
written = io.StringIO()
with contextlib.redirect_stdout(written), contextlib.redirect_stderr(io.StringIO()):
    good = urllib.request.urlopen(url, body).status
    try:
        bad = urllib.request.urlopen(url, b"{}").status
    except urllib.error.HTTPError as error:
        bad = error.code
print(good, bad, written.getvalue(), sep="\\n", end="")
"""
