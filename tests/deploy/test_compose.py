"""docker-compose.yml, without a container engine: held against the schema of Compose, and each thing that it names
against the real one."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from exporter.cli import main
from exporter.config import load
from exporter.config.loading import ENVIRONMENT
from tests.alerts.promtool import loaded
from tests.service.running import fetched, json_line, started, until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: Mapping[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
PROFILES = ("demo", "live")
WITH_DASHBOARDS = pytest.mark.skipif(
    not (ROOT / "grafana" / "provisioning").exists(), reason="the dashboards are not in this tree yet"
)
LISTENS = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "webhook": 9099}
"""The ports on which the images listen by themselves; those of ours are asked of our code."""
GRAFANA = (
    "GF_AUTH_ANONYMOUS_ENABLED",
    "GF_AUTH_ANONYMOUS_ORG_ROLE",
    "GF_AUTH_DISABLE_LOGIN_FORM",
    "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH",
    "GF_ANALYTICS_REPORTING_ENABLED",
    "GF_ANALYTICS_CHECK_FOR_UPDATES",
)
"""Settings of Grafana's documentation that are used."""


def stage(profile: str) -> dict[str, Mapping[str, Any]]:
    """The services that a profile starts."""
    return {name: service for name, service in SERVICES.items() if profile in service["profiles"]}


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """What is mounted where: paths of the container, and the file, folder or volume behind each."""
    pairs = (volume.split(":")[:2] for volume in service.get("volumes", ()))
    return {inside: outside for outside, inside in pairs}


def outside(service: Mapping[str, Any], inside: str) -> Path:
    """The file of ours that a service sees at a path."""
    for target, source in mounts(service).items():
        if inside == target or inside.startswith(f"{target}/"):
            return ROOT / source / inside.removeprefix(target).lstrip("/")
    raise AssertionError(f"{inside} is not mounted")


def ports(profile: str) -> dict[str, int]:
    """The port on which each name answers within a profile."""
    found = {}
    for name, service in stage(profile).items():
        aliases = service.get("networks", {}).get("default", {}).get("aliases", [])
        for known in (name, *aliases):
            assert known not in found
            found[known] = LISTENS.get(name) or listens(service)
    return found


def listens(service: Mapping[str, Any]) -> int:
    """The port of a command of ours."""
    words = service.get("command", ["run"])
    context = main.commands[words[0]].make_context(words[0], [*words[1:]])
    address = context.params.get("listen") or context.params["web_listen_address"][0]
    return int(address.port)


def test_it_is_what_compose_reads() -> None:
    tool = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run(
        [tool, "--builtin-schema", "vendor.compose-spec", FILE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_image_is_ours_or_pinned() -> None:
    for name, service in SERVICES.items():
        if name in OURS:
            assert (service["build"], service["image"]) == (".", "unpod-exporter:local")
        else:
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_all_that_its_services_need(profile: str) -> None:
    services = stage(profile)
    assert {"prometheus", "alertmanager", "webhook", "grafana"} < set(services)
    assert ports(profile)["exporter"] == 10130
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)


def test_each_service_is_in_a_profile_so_that_nobody_starts_half_of_them() -> None:
    assert all(set(service["profiles"]) <= set(PROFILES) and service["profiles"] for service in SERVICES.values())


@WITH_DASHBOARDS
def test_what_is_mounted_exists_and_volumes_are_declared() -> None:
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source, _, mode = volume.split(":") if volume.count(":") == 2 else (*volume.split(":"), "")
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
                assert mode == "ro"
            else:
                used.add(source)
    assert used == set(COMPOSE["volumes"])


def test_all_that_is_written_to_is_a_volume() -> None:
    image = re.search(r"^VOLUME (\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert image is not None
    assert image[1] in mounts(SERVICES["exporter-live"])
    assert SERVICES["exporter-demo"]["environment"]["UNPOD_EXPORTER_STATE_PATH"] == "memory"
    assert all(service["read_only"] for service in SERVICES.values())


@pytest.mark.parametrize("name", ["simulator", "exporter-demo", "exporter-live"])
def test_its_commands_and_variables_are_those_of_our_program(name: str) -> None:
    service = SERVICES[name]
    assert listens(service) > 0
    flags = {option.envvar for option in main.commands["run"].params if isinstance(option, click.Option)}
    assert set(service.get("environment", ())) <= {*flags, *ENVIRONMENT, "UNPOD_AGENTS"}


def test_no_secret_stands_in_it() -> None:
    live = SERVICES["exporter-live"]["environment"]
    assert {"UNPOD_API_TOKEN", "UNPOD_ORG_HANDLE"} <= set(live)
    assert all(value is None for value in live.values()), "they come from the shell"


def test_the_demo_asks_its_simulator() -> None:
    config = load(outside(SERVICES["exporter-demo"], "/etc/unpod-exporter/config.yaml"), {})
    assert config.api.base_url == f"http://simulator:{ports('demo')['simulator']}"
    assert config.discovery.enabled


@pytest.mark.parametrize("name", SERVICES)
def test_only_this_machine_reaches_its_ports(name: str) -> None:
    service = SERVICES[name]
    known = {number for profile in service["profiles"] for number in (ports(profile)[name],)}
    for published in service.get("ports", ()):
        host, outer, inner = published.split(":")
        assert (host, outer) == ("127.0.0.1", inner)
        assert {int(inner)} == known


@pytest.mark.parametrize("profile", PROFILES)
def test_each_address_that_is_named_is_that_of_a_service(profile: str) -> None:
    known = {f"{name}:{port}" for name, port in ports(profile).items()}
    prometheus = yaml.safe_load(outside(SERVICES["prometheus"], "/etc/prometheus/prometheus.yml").read_text())
    scraped = {
        target for job in prometheus["scrape_configs"] for one in job["static_configs"] for target in one["targets"]
    }
    managers = {
        target
        for manager in prometheus["alerting"]["alertmanagers"]
        for one in manager["static_configs"]
        for target in one["targets"]
    }
    receivers = yaml.safe_load(outside(SERVICES["alertmanager"], "/etc/alertmanager/alertmanager.yml").read_text())
    hooks = {hook["url"].split("/")[2] for one in receivers["receivers"] for hook in one["webhook_configs"]}
    assert scraped - {"localhost:9090"} == {"exporter:10130"}
    assert scraped - {"localhost:9090"} | managers | hooks <= known


@WITH_DASHBOARDS
@pytest.mark.parametrize("profile", PROFILES)
def test_grafana_finds_its_data_and_dashboards(profile: str) -> None:
    grafana = SERVICES["grafana"]
    assert set(grafana["environment"]) == set(GRAFANA)
    (source,) = yaml.safe_load(outside(grafana, "/etc/grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == f"http://prometheus:{ports(profile)['prometheus']}"
    scraping = yaml.safe_load(outside(SERVICES["prometheus"], "/etc/prometheus/prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    (provider,) = yaml.safe_load(outside(grafana, "/etc/grafana/provisioning/dashboards/unpod.yml").read_text())[
        "providers"
    ]
    folder = outside(grafana, provider["options"]["path"])
    assert {json.loads(path.read_text())["title"] for path in folder.glob("*.json")}
    assert outside(grafana, grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file()


def at_home(service: Mapping[str, Any], folder: Path) -> list[str]:
    """The words of a command with our files in place of what is mounted, and ``folder`` in place of volumes."""
    words = []
    for word in service["command"]:
        flag, _, value = word.partition("=")
        if value.startswith("/"):
            value = str(folder / value.lstrip("/")) if value in mounts(service) else str(outside(service, value))
        words.append(f"{flag}={value}")
    return words


async def serving(folder: Path, program: str, words: list[str]) -> tuple[asyncio.subprocess.Process, str]:
    """A Debian binary with these flags, on a free port."""
    log = folder / f"{program}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            program, *words, "--web.listen-address=127.0.0.1:0", stdout=file, stderr=file
        )

    async def listening() -> str | None:
        assert process.returncode is None, log.read_text()
        found = re.search(r'"Listening on" address=(\S+)', log.read_text())
        return found and found[1]

    return process, f"http://{await until(listening)}"


async def test_prometheus_takes_its_flags_loads_every_alert_and_knows_whom_to_scrape_and_tell(tmp_path: Path) -> None:
    process, url = await serving(tmp_path, "prometheus", at_home(SERVICES["prometheus"], tmp_path))
    try:

        async def ready() -> bool:
            return (await fetched(f"{url}/-/ready")).status == 200

        await until(ready)
        told = json_line((await fetched(f"{url}/api/v1/rules?type=alert")).text)["data"]["groups"]
        assert {rule["name"] for group in told for rule in group["rules"]} == set(loaded())

        async def targets() -> set[str]:
            found = json_line((await fetched(f"{url}/api/v1/targets")).text)["data"]["activeTargets"]
            return {target["labels"]["instance"] for target in found}

        async def managers() -> list[dict[str, str]]:
            found = json_line((await fetched(f"{url}/api/v1/alertmanagers")).text)["data"]
            return [*found["activeAlertmanagers"]]

        assert await until(targets) == {"exporter:10130", "localhost:9090"}
        assert await until(managers) == [{"url": "http://alertmanager:9093/api/v2/alerts"}]
        flags = json_line((await fetched(f"{url}/api/v1/status/flags")).text)["data"]
        assert flags["storage.tsdb.retention.time"] == "30d"
    finally:
        process.terminate()
        await process.wait()


async def test_alertmanager_takes_its_flags_and_has_its_receivers(tmp_path: Path) -> None:
    process, url = await serving(tmp_path, "prometheus-alertmanager", at_home(SERVICES["alertmanager"], tmp_path))
    try:

        async def ready() -> bool:
            return (await fetched(f"{url}/-/ready")).status == 200

        await until(ready)
        receivers = json.loads((await fetched(f"{url}/api/v2/receivers")).text)
        assert {receiver["name"] for receiver in receivers} == {"on-call", "team", "notes"}
    finally:
        process.terminate()
        await process.wait()


async def test_the_simulator_is_healthy_when_its_check_says_so(tmp_path: Path) -> None:
    _, *words = SERVICES["simulator"]["healthcheck"]["test"]
    assert words[:2] == ["python", "-c"]
    async with started(tmp_path, "simulate", "--listen", "127.0.0.1:0", "--tasks", "1") as process:
        await process.until(lambda: "Stop with Ctrl-C." in process.out)
        (port,) = re.findall(r"platform with 5 agents at http://127.0.0.1:(\d+)", process.out)
        for asked, healthy in ((port, True), ("9", False)):
            code = words[2].replace("10131", asked)
            done = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
            assert (await done.wait() == 0) is healthy
    assert str(listens(SERVICES["simulator"])) in words[2]


def test_the_webhook_is_the_file_that_is_mounted() -> None:
    program, script = SERVICES["webhook"]["entrypoint"]
    assert program == "python"
    assert re.search(r"^PORT = (\d+)$", outside(SERVICES["webhook"], script).read_text(), re.M)[1] == "9099"  # type: ignore[index]
