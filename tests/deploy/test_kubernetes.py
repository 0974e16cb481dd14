"""The manifests: built as kubectl builds them, held against the schemas of Kubernetes and the Prometheus Operator, and
against the exporter that they run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

import exporter
from exporter.config import load
from exporter.service import Web
from exporter.web.pages import Pages
from exporter.web.server import create_app

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "prometheus-operator")
Manifest = dict[str, Any]


def built(overlay: str) -> list[Manifest]:
    command = ["kubectl", "kustomize", str(KUBERNETES / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    return list(yaml.safe_load_all(text))


def one(kind: str, overlay: str = "prometheus-operator") -> Manifest:
    (found,) = (manifest for manifest in built(overlay) if manifest["kind"] == kind)
    return found


@pytest.fixture(scope="module")
def pod() -> Manifest:
    template: Manifest = one("StatefulSet")["spec"]["template"]
    return template


@pytest.fixture(scope="module")
def container(pod: Manifest) -> Manifest:
    (found,) = pod["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_fits_the_schema_of_kubernetes(overlay: str) -> None:
    manifests = [manifest for manifest in built(overlay) if not manifest["apiVersion"].startswith("monitoring.")]
    assert len(manifests) >= 5
    for manifest in manifests:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_the_service_monitor_fits_the_schema_of_the_operator() -> None:
    """The models drop what they do not know, so nothing may be missing afterwards."""
    manifest = one("ServiceMonitor")
    kept = ServiceMonitor.model_validate(manifest).model_dump(by_alias=True, exclude_none=True, mode="json")
    assert kept == manifest


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
    assert f"VOLUME {mounts['state']}\n" in dockerfile
    assert f"WORKDIR {mounts['config']}\n" in dockerfile
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in dockerfile
    assert container["image"] == f"unpod-exporter:{exporter.__version__}"


def test_the_probes_and_the_scrape_ask_for_what_the_exporter_answers(container: Manifest) -> None:
    def nothing(*_: object) -> None:
        raise AssertionError

    app = create_app(
        Pages(metrics=nothing, ready=nothing, status=nothing, agent=nothing, telemetry_path=Web().telemetry_path)
    )
    answered = {resource.canonical for resource in app.router.resources()}
    probed = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    (endpoint,) = one("ServiceMonitor")["spec"]["endpoints"]
    assert {*probed, endpoint["path"]} <= answered
    (port,) = container["ports"]
    assert endpoint["port"] == port["name"] == one("Service")["spec"]["ports"][0]["name"]


def test_the_settings_are_good_and_take_the_token_from_the_secret(tmp_path: Path, container: Manifest) -> None:
    (text,) = one("ConfigMap")["data"].values()
    mount = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "token")
    assert f"{mount}/token" in text
    (tmp_path / "token").write_text("abc")
    (tmp_path / "config.yaml").write_text(text.replace(mount, str(tmp_path)))
    assert load(tmp_path / "config.yaml", {}).api.token_file == tmp_path / "token"


def test_the_selectors_meet_the_labels(pod: Manifest) -> None:
    labels = pod["metadata"]["labels"].items()
    selectors = (
        one("StatefulSet")["spec"]["selector"]["matchLabels"],
        one("Service")["spec"]["selector"],
        one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    )
    assert all(labels >= selector.items() for selector in selectors)
    monitored = one("ServiceMonitor")["spec"]["selector"]["matchLabels"]
    assert one("Service")["metadata"]["labels"].items() >= monitored.items()
