import ast
import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

import exporter
from exporter.cli import main
from exporter.config.keys import SECTIONS
from exporter.config.loading import ENVIRONMENT

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "*.md",
        *(f"{folder}/**/*.md" for folder in ("docs", "grafana", "prometheus", "alertmanager", "deploy")),
    )
    for path in ROOT.glob(pattern)
)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_link_of_a_page_leads_somewhere(root: Path, page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (root / page).read_text()):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            there = (root / page).parent / path if path else root / page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_make_command_of_a_page_is_in_the_makefile(root: Path, page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^ +make (\w+)$|`make (\w+)`", (root / page).read_text())) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


def test_the_readme_begins_with_the_two_commands(root: Path) -> None:
    text = (root / "README.md").read_text()
    assert text.index("    make demo\n") < text.index("    make test\n") < text.index("## Run it")


def test_the_metrics_that_the_readme_names_exist(root: Path) -> None:
    told = (root / "docs" / "metrics.md").read_text()
    for page in ("README.md", "grafana/README.md", "docs/state.md", "docs/configuration.md"):
        named = re.findall(r"\bunpod_[a-z_]+[a-z]", re.sub(r"_bucket\b", "", (root / page).read_text()))
        assert {name for name in named if f"`{name}`" not in told} <= {"unpod_token"}


def test_make_without_a_target_says_what_can_be_made(root: Path) -> None:
    said = subprocess.run(["make"], cwd=root, capture_output=True, text=True, check=True).stdout
    for target in ("demo", "test", "lint", "types", "docs", "format", "clean"):
        assert f"make {target} " in said


def test_the_docs_name_every_key_with_its_default(root: Path) -> None:
    text = (root / "docs" / "configuration.md").read_text()
    example = yaml.safe_load((root / "config.example.yaml").read_text())
    for path, keys in SECTIONS.items():
        section, _, prefix = path.partition(".")
        part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
        for key in keys:
            name = f"{prefix}.{key}" if prefix else key
            assert f"| `{name}` |" in part or (section, key) == ("api", "tls"), name
    for key in ("timeout", "page_size", "requests_per_minute", "max_response_bytes"):
        assert f"| `{key}` | `{example['api'][key]}` |" in text
    for key in ("interval", "max_staleness", "settling_time", "reconcile_interval", "overdue_grace", "history"):
        assert f"| `{key}` | `{example['polling'][key]}` |" in text


def test_the_docs_name_every_variable_of_the_environment(root: Path) -> None:
    text = (root / "docs" / "configuration.md").read_text()
    for name in (*ENVIRONMENT, "UNPOD_AGENTS"):
        assert f"| `{name}` |" in text


def test_the_docs_name_every_flag_of_run_with_its_variable_and_default(root: Path) -> None:
    rows = re.findall(
        r"^\| `(--[a-z.-]+)` \| `(\w+)` \| (.*?) \|", (root / "docs" / "configuration.md").read_text(), re.M
    )
    told = {flag: (variable, default) for flag, variable, default in rows}
    flags = {option.opts[0]: option for option in main.commands["run"].params if isinstance(option, click.Option)}
    assert set(told) == set(flags)
    for flag, option in flags.items():
        variable, default = told[flag]
        assert variable == option.envvar
        value = option.default[0] if isinstance(option.default, list) else option.default
        assert not isinstance(value, str) or default == f"`{value}`", flag


def test_the_changelog_names_every_command(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text()
    assert all(f"`{name}`" in text for name in main.commands)


def test_the_version_stands_in_one_place(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    literal = ast.parse((root / "exporter" / "__init__.py").read_text()).body[-1]
    assert isinstance(literal, ast.Assign)
    assert ast.literal_eval(literal.value) == exporter.__version__
    assert exporter.__version__ in (root / "README.md").read_text()


def test_each_dependency_has_a_lower_bound_and_its_reason(root: Path) -> None:
    text = (root / "pyproject.toml").read_text()
    for requirement in tomllib.loads(text)["project"]["dependencies"]:
        assert re.fullmatch(r"[A-Za-z0-9-]+>=[\d.]+(; .+)?", requirement)
        assert re.search(rf'"{re.escape(requirement)}", +# \w+', text), requirement


def test_the_license_is_the_one_that_the_package_names(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    text = (root / "LICENSE").read_text()
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def tracked(root: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True).stdout
    return [root / name for name in listed.split("\0") if name and (root / name).is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout knows which files are its own")
def test_no_file_names_a_place_of_one_machine(root: Path) -> None:
    places = re.compile(rf"(?<![\w.~-])/(?:work|home|Users|root)/\w|{re.escape(str(root))}")
    for path in tracked(root):
        found = places.search(path.read_text(errors="replace"))
        assert found is None, f"{path.relative_to(root)}: {found}"


def test_the_ci_can_be_run(root: Path) -> None:
    script = root / ".ci" / "run"
    assert script.stat().st_mode & stat.S_IXUSR
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()
    subprocess.run(["bash", "-n", script], check=True, env=dict(os.environ))
