# `make demo` and `make test` need Python 3.11 or later, make and a network; everything else they set up in .venv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?= tests
# As many test processes as there are cores; PYTEST_FLAGS= runs them one after the other.
PYTEST_FLAGS ?= -n auto

# The first Python that is new enough, unless PYTHON names one.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# `make lock UPGRADE=--upgrade` takes the newest versions; without it those stay that still fit.
UPGRADE ?=

# Each with the Debian package that brings it.
TOOLS := curl:curl prometheus:prometheus promtool:prometheus amtool:prometheus-alertmanager kubectl:kubernetes-client \
	systemd-analyze:systemd systemd-socket-activate:systemd chromium:chromium npm:npm pg_ctlcluster:postgresql
AXE := tests/browser/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help demo test tools axe screenshots install lint types format docs lock audit clean

help: ## what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: $(STAMP) ## a simulated platform and the exporter together: no account and no config needed
	$(BIN)/unpod-exporter demo

test: $(STAMP) tools axe ## all tests, among them the linters, the types and the walls between the packages
	$(BIN)/python -m pytest $(PYTEST_FLAGS) $(TESTS)

install: $(STAMP) ## the exporter and what its development needs, in .venv

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later was found. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-module
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# Debian splits venv from Python.
.PHONY: venv-module
venv-module:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv; \
	else \
		echo "$(PYTHON) cannot make a virtual environment. Install its venv module (on Debian and Ubuntu:" >&2; \
		echo "sudo apt-get install python3-venv), then run make again." >&2; exit 1; \
	fi

# Some tests ask the real Prometheus, systemd, kubectl or Chromium; without them they fail.
tools:
	@missing=; for pair in $(TOOLS); do command -v $${pair%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	else \
		echo "The tests that need what is missing will fail. On Debian and Ubuntu:" >&2; \
		echo "  sudo apt-get install$$missing" >&2; \
		echo "elsewhere: https://prometheus.io/download/" >&2; \
	fi

# What checks in the browser that everybody can use the pages.
axe: tools $(AXE)

$(AXE): tests/browser/package-lock.json
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

screenshots: $(STAMP) tools ## docs/images from faults that are played to a real exporter
	$(BIN)/python -m tests.browser.screenshots docs/images

lint: $(STAMP) ## ruff, and the walls between the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

format: $(STAMP) ## the code as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## what is made from the catalog, the faults and the rules: four pages of docs, and the rules for Kubernetes
	$(BIN)/python -m exporter.exposition.docs docs/metrics.md docs/backfill.md
	$(BIN)/python -m tests.faults.docs
	$(BIN)/python prometheus/document.py docs/alerts.md
	$(BIN)/python prometheus/resources.py deploy/kubernetes/prometheus-operator/prometheusrule.yaml

lock: $(STAMP) ## requirements.lock: the versions and hashes of what the container image holds
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--output-file requirements.lock --extra postgresql $(UPGRADE) pyproject.toml

audit: $(STAMP) ## known vulnerabilities of what is in requirements.lock; asks a service on the network
	$(BIN)/uv tool run pip-audit --requirement requirements.lock --disable-pip

.PHONY: dashboards pictures
dashboards: $(STAMP) ## grafana/dashboards and the list of their panels from the code in grafana
	$(BIN)/python -m grafana

pictures: $(STAMP) tools ## docs/images of the dashboards, drawn from what a real Prometheus answers
	$(BIN)/python -m grafana.pictures

clean: ## away with everything that was made
	rm -rf $(VENV) tests/browser/node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
