"""The manifests: built as kubectl builds them, held against the schemas of Kubernetes and the Prometheus Operator, and
against the exporter that they run."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

import exporter
from exporter.config import load
from exporter.service import Web
from exporter.web.pages import Pages
from exporter.web.server import create_app
from tests.replicas.stage import documented_scraping

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
RULES = ROOT / "prometheus" / "rules"
DASHBOARDS = ROOT / "grafana" / "dashboards"
EXPORTERS = ("base", "postgresql")
OPERATOR = "prometheus-operator"
LARGEST_REMEMBERED = 262_144
"""Bytes of all annotations of an object: ``kubectl apply`` keeps there what it has applied."""
Manifest = dict[str, Any]


def built(overlay: str) -> list[Manifest]:
    command = ["kubectl", "kustomize", str(KUBERNETES / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def one(kind: str, overlay: str) -> Manifest:
    (found,) = (manifest for manifest in built(overlay) if manifest["kind"] == kind)
    return found


@pytest.fixture(scope="module", params=EXPORTERS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pod(overlay: str) -> Manifest:
    template: Manifest = one("StatefulSet", overlay)["spec"]["template"]
    return template


@pytest.fixture(scope="module")
def container(pod: Manifest) -> Manifest:
    (found,) = pod["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("folder", [*EXPORTERS, OPERATOR])
def test_every_resource_fits_the_schema_of_kubernetes(folder: str) -> None:
    manifests = [manifest for manifest in built(folder) if not manifest["apiVersion"].startswith("monitoring.")]
    assert len(manifests) >= 3
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_every_resource_of_the_operator_fits_its_schema() -> None:
    """The models drop what they do not know, so nothing may be missing afterwards."""
    models = {"PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule}
    manifests = [manifest for manifest in built(OPERATOR) if manifest["apiVersion"].startswith("monitoring.")]
    assert {manifest["kind"] for manifest in manifests} == models.keys()
    for manifest in manifests:
        model = models[manifest["kind"]].model_validate(manifest)
        assert model.model_dump(by_alias=True, exclude_none=True, mode="json") == manifest


def test_the_rules_of_the_operator_are_those_of_prometheus() -> None:
    made = {manifest["metadata"]["name"]: manifest for manifest in built(OPERATOR)}
    files = list(RULES.glob("*.yml"))
    assert files
    for file in files:
        assert made[f"unpod-{file.stem}"]["spec"] == yaml.safe_load(file.read_text()), "make docs renews it"


def test_each_dashboard_is_a_config_map_that_the_sidecar_finds_and_apply_can_remember() -> None:
    maps = [manifest for manifest in built(OPERATOR) if manifest["kind"] == "ConfigMap"]
    held = {name: text for manifest in maps for name, text in manifest["data"].items()}
    assert held == {file.name: file.read_text() for file in DASHBOARDS.glob("*.json")}
    for manifest in maps:
        assert manifest["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(json.dumps(manifest)) * 1.2 < LARGEST_REMEMBERED


def test_the_pod_meets_the_restricted_profile(pod: Manifest, container: Manifest) -> None:
    assert pod["spec"]["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 65532}.items()
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_the_user_and_the_paths_are_those_of_the_image(pod: Manifest, container: Manifest) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = pod["spec"]["securityContext"]["runAsUser"]
    assert f"USER {user}:" in dockerfile
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"VOLUME {mounts.get('state', '/var/lib/unpod-exporter')}\n" in dockerfile
    assert f"WORKDIR {mounts['config']}\n" in dockerfile
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in dockerfile
    assert container["image"] == f"unpod-exporter:{exporter.__version__}"


def test_the_probes_and_the_scrape_ask_for_what_the_exporter_answers(overlay: str, container: Manifest) -> None:
    def nothing(*_: object) -> None:
        raise AssertionError

    app = create_app(
        Pages(metrics=nothing, ready=nothing, status=nothing, agent=nothing, telemetry_path=Web().telemetry_path)
    )
    answered = {resource.canonical for resource in app.router.resources()}
    probed = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    endpoints = one("PodMonitor", OPERATOR)["spec"]["podMetricsEndpoints"]
    assert {*probed, *(endpoint["path"] for endpoint in endpoints)} <= answered
    (port,) = container["ports"]
    assert {endpoint["port"] for endpoint in endpoints} == {port["name"]}
    assert one("Service", overlay)["spec"]["ports"][0]["name"] == port["name"]


def test_each_pod_is_scraped_once_and_agents_that_may_move_are_told_of_as_one(overlay: str, pod: Manifest) -> None:
    labels = pod["metadata"]["labels"].items()
    discovered = {f"__meta_kubernetes_pod_label_{re.sub('[./]', '_', name)}": value for name, value in labels}
    (scraped,) = (
        endpoint
        for endpoint in one("PodMonitor", OPERATOR)["spec"]["podMetricsEndpoints"]
        if _scrapes(endpoint, discovered)
    )
    (named,) = (rule for rule in scraped["relabelings"] if rule["action"] == "replace")
    assert (named["sourceLabels"], named["targetLabel"]) == (["__meta_kubernetes_pod_name"], "instance")
    relabelled = scraped.get("metricRelabelings", [])
    (settings,) = map(yaml.safe_load, one("ConfigMap", overlay)["data"].values())
    if not settings.get("state", {}).get("replicas"):
        assert relabelled == []
        return
    (documented,) = documented_scraping()["scrape_configs"]
    (as_one,) = documented["metric_relabel_configs"]
    spelled = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
    renamed = {spelled.get(key, key): value for key, value in as_one.items()} | {"action": "replace"}
    assert relabelled == [renamed, {**renamed, "targetLabel": "pod", "replacement": ""}]


def _scrapes(endpoint: Manifest, target: dict[str, str]) -> bool:
    """Whether an endpoint takes a pod with these labels."""
    return all(
        (re.fullmatch(rule["regex"], target.get(rule["sourceLabels"][0], "")) is not None) == (rule["action"] == "keep")
        for rule in endpoint["relabelings"]
        if rule["action"] in ("keep", "drop")
    )


def test_the_settings_are_good_and_take_the_secrets_from_their_files(
    tmp_path: Path, overlay: str, container: Manifest
) -> None:
    (text,) = one("ConfigMap", overlay)["data"].values()
    paths = [mount["mountPath"] for mount in container["volumeMounts"] if mount["mountPath"].startswith("/run/secrets")]
    for path in paths:
        (name,) = re.findall(rf"{path}/(\w+)", text)
        folder = tmp_path / Path(path).name
        folder.mkdir()
        (folder / name).write_text("abc")
        text = text.replace(path, str(folder))
    (tmp_path / "config.yaml").write_text(text)
    config = load(tmp_path / "config.yaml", {})
    assert config.api.token_file == tmp_path / "unpod" / "token"
    assert "/run/secrets" not in text


def test_the_selectors_meet_the_labels(overlay: str, pod: Manifest) -> None:
    labels = pod["metadata"]["labels"].items()
    budget, monitor = one("PodDisruptionBudget", overlay), one("PodMonitor", OPERATOR)
    selectors = (
        one("StatefulSet", overlay)["spec"]["selector"]["matchLabels"],
        one("Service", overlay)["spec"]["selector"],
        one("NetworkPolicy", overlay)["spec"]["podSelector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
        monitor["spec"]["selector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod["spec"].get("topologySpreadConstraints", ())),
    )
    assert all(labels >= selector.items() for selector in selectors)
    assert monitor["spec"]["jobLabel"] in pod["metadata"]["labels"]


def test_replicas_keep_nothing_on_a_volume_and_reach_their_database() -> None:
    replicas = one("StatefulSet", "postgresql")["spec"]
    assert replicas["replicas"] > 1
    assert "volumeClaimTemplates" not in replicas
    claimed = {mount["name"] for mount in replicas["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert claimed == {volume["name"] for volume in replicas["template"]["spec"]["volumes"]}
    before, after = (one("NetworkPolicy", overlay)["spec"]["egress"] for overlay in EXPORTERS)
    assert after == [*before, {"ports": [{"port": 5432, "protocol": "TCP"}]}]
