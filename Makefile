# Everything runs in .venv, made here from exact pins (constraints.txt).
PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PINS := pyproject.toml constraints.txt
DATASETS := cifar10 cifar100 fashion-mnist
ZOO_DATA := data/cifar10/test_images.npy data/cifar100/test_images.npy

.PHONY: serve test train bench bench-serving bench-energy bench-results ablation results figures energy-validation verify check format clean

serve: $(VENV)/.service
	$(BIN)/spikeserve serve --port $(PORT)

test: $(VENV)/.dev
	$(BIN)/pytest

verify: $(VENV)/.dev $(ZOO_DATA)
	$(BIN)/pytest -m "verify or not verify"

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m spikeserve.deploy.grafana.dashboard --check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The whole pipeline on 2 % of CIFAR-10; RECIPE=cifar10-hybrid trains a model, in two hours.
RECIPE ?= smoke
train: $(VENV)/.dev data/cifar10/test_images.npy
	$(BIN)/spiketrain all $(RECIPE) --resume

# This network in every runtime, and its layers, for docs/BENCHMARKS.md and docs/ENGINES.md; half an idle hour.
bench: $(VENV)/.bench data/cifar10/test_images.npy
	$(BIN)/python -m benchmarks.layers
	$(BIN)/python -m benchmarks.engines
	$(BIN)/python -m benchmarks.quoted

# Servers under load, against their peers; as long again.
bench-serving: $(VENV)/.bench data/cifar10/test_images.npy
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.quoted

# What early exit saves on every bundle's 10,000 test images, and what the estimate costs; half a minute.
bench-energy: $(VENV)/.dev $(ZOO_DATA)
	$(BIN)/python -m benchmarks.energy
	$(BIN)/python -m benchmarks.quoted

# Published energies beside ours, into docs/ENERGY.md; needs no data, but what the tests need.
energy-validation: $(VENV)/.dev
	$(BIN)/python -m benchmarks.energy.validation --write

# Accuracy, exits, energy and robustness of every bundle, into docs/RESULTS.md; one or two idle minutes a bundle.
bench-results: $(VENV)/.bench $(DATASETS:%=data/%/test_images.npy)
	$(BIN)/python -m benchmarks.results measure

# Direct or hybrid encoding, spiking once or repeatedly, trained side by side; half an hour.
ablation: $(VENV)/.bench data/cifar10/test_images.npy
	$(BIN)/python -m benchmarks.results ablate

# docs/RESULTS.md and its pictures anew from what was logged.
results: $(VENV)/.bench
	$(BIN)/python -m benchmarks.results write

# The measured tables in README and docs anew from what was logged.
figures: $(VENV)/.dev
	$(BIN)/python -m benchmarks.quoted

data/%/test_images.npy: | $(VENV)/.dev
	$(BIN)/spiketrain data $*

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.service: $(VENV)/bin/python $(PINS)
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python $(PINS)
	$(PIP) --editable '.[train,dev]'
	touch $@ $(VENV)/.service

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) --editable '.[train,dev,bench]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
