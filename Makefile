# Everything runs in .venv, made here from exact pins. `make help` lists what there is.
PYTHON ?= python3
PORT ?= 8000
RECIPE ?= smoke
VENV ?= .venv
# The tests' pins: constraints-lowest.txt for the oldest releases we run with, /dev/null for the newest.
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
PIP := $(INSTALL) --constraint $(CONSTRAINTS)
COMPILE := UV_CUSTOM_COMPILE_COMMAND='make pins' $(BIN)/uv pip compile --quiet \
	--upgrade --no-annotate --python-version 3.11
DATASETS := cifar10 cifar100 fashion-mnist
NODE := benchmarks/grafana/node_modules
ZOO_DATA := data/cifar10/test_images.npy data/cifar100/test_images.npy

.DEFAULT_GOAL := help
.PHONY: help serve test verify check format train bench bench-serving bench-large bench-energy bench-results \
	bench-training dashboard-picture \
	page ablation results figures energy-validation pins revisions clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

serve: $(VENV)/.service ## install the service and start it on PORT (8000)
	$(BIN)/spikeserve serve --port $(PORT)

test: $(VENV)/.dev ## install everything for training and tests, and run the tests: minutes
	$(BIN)/pytest

verify: $(VENV)/.dev $(ZOO_DATA) ## the tests and the slow proofs: one and a half idle hours
	$(BIN)/pytest -m "verify or not verify"

check: $(VENV)/.dev ## lint, format, types, and the generated dashboard
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m spikeserve.deploy.grafana.dashboard --check

format: $(VENV)/.dev ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

train: $(VENV)/.dev data/cifar10/test_images.npy ## RECIPE (smoke: the whole pipeline on 2 % of CIFAR-10) to a bundle
	$(BIN)/spiketrain all $(RECIPE) --resume

bench: $(VENV)/.bench data/cifar10/test_images.npy ## the network in every runtime, and its layers: half an idle hour
	$(BIN)/python -m benchmarks.layers
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.quoted

bench-serving: $(VENV)/.bench data/cifar10/test_images.npy ## servers under load, beside their peers: half an idle hour
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.quoted

bench-large: $(VENV)/.dev ## networks for pictures of 64 to 224 pixels: five idle minutes
	$(BIN)/python -m benchmarks.large
	$(BIN)/python -m benchmarks.quoted

bench-energy: $(VENV)/.dev $(ZOO_DATA) ## what early exit saves on every bundle's test images: half a minute
	$(BIN)/python -m benchmarks.energy
	$(BIN)/python -m benchmarks.quoted

bench-results: $(VENV)/.bench $(DATASETS:%=data/%/test_images.npy) ## accuracy, exits, robustness: one or two idle minutes a bundle
	$(BIN)/python -m benchmarks.results measure

bench-training: $(VENV)/.dev ## seconds of a training step, by cause: ten idle minutes
	$(BIN)/python -m benchmarks.training

page: $(VENV)/.dev ## what the page weighs and costs the service, and its pictures: three idle minutes
	$(BIN)/python -m benchmarks.page

dashboard-picture: $(VENV)/.dev $(ZOO_DATA) $(NODE)/.package-lock.json ## judge and draw the Grafana dashboard: ten minutes; npm, Chromium, Prometheus
	$(BIN)/python -m benchmarks.grafana types
	$(BIN)/python -m benchmarks.grafana record
	$(BIN)/python -m benchmarks.grafana draw

ablation: $(VENV)/.bench data/cifar10/test_images.npy ## what spike codes are worth, trained side by side: some hours, goes on after a stop
	$(BIN)/python -m benchmarks.results ablate

results: $(VENV)/.bench ## docs/RESULTS.md and its pictures anew from what was logged
	$(BIN)/python -m benchmarks.results write

figures: $(VENV)/.dev ## the measured tables in README and docs anew from what was logged
	$(BIN)/python -m benchmarks.quoted

revisions: $(VENV)/.bench data/cifar10/test_images.npy ## this checkout against OTHER, an older one: a quarter of an idle hour
	$(BIN)/python -m benchmarks.revisions $(OTHER)

energy-validation: $(VENV)/.dev ## published energies beside ours, into docs/ENERGY.md
	$(BIN)/python -m benchmarks.energy.validation --write

pins: $(VENV)/bin/python ## after a change of pins or bounds: the two files of pins that follow from them
	$(PIP) uv
	echo setuptools | $(COMPILE) --constraint constraints.txt --universal --generate-hashes \
		--output-file requirements-service.txt pyproject.toml -
	$(COMPILE) --extra train --extra dev --resolution lowest-direct --only-binary :all: \
		--output-file constraints-lowest.txt pyproject.toml

clean: ## remove .venv and all caches
	rm -rf $(VENV) $(NODE) build benchmarks/grafana/build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(NODE)/.package-lock.json: benchmarks/grafana/package-lock.json
	npm ci --prefix benchmarks/grafana --no-audit --no-fund
	touch $@

data/%/test_images.npy: | $(VENV)/.dev
	$(BIN)/spiketrain data $*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# What serves is checked against hashes; the editable install needs setuptools, which is among them.
$(VENV)/.service: $(VENV)/bin/python pyproject.toml requirements-service.txt
	$(INSTALL) --require-hashes --requirement requirements-service.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml $(wildcard $(CONSTRAINTS))
	$(PIP) --editable '.[train,dev]'
	touch $@ $(VENV)/.service

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) --editable '.[train,dev,bench]'
	touch $@
