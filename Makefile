# Two commands do all the set-up: `make run` trains a policy in front of you, `make test` passes.
# A third, `make e2e`, does the same on a real cluster.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "installing into $(VENV) (torch is large; the first time takes a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: install
install: $(VENV)/.installed ## Make .venv with everything in it

.PHONY: run
run: install ## Train configs/default.yaml through its four stages, here
	@$(BIN)/headway run configs/default.yaml

.PHONY: generate
generate: install ## Write the CRDs and the rendered manifests from their sources
	@$(BIN)/python -m headway_api.crd
	@manifests/render.sh

.PHONY: lint
lint: install ## Style, architecture, types, generated files
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@test ! -e operator/__init__.py && test ! -e trainer/__init__.py || \
	  { echo "operator/ and trainer/ must not be packages: operator would shadow the standard library's"; exit 1; }
	@$(BIN)/lint-imports --no-cache --verbose >/dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/python -m headway_api.crd --check

.PHONY: format
format: install ## Format the code
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

.PHONY: unit
unit: install ## Unit tests
	@$(BIN)/python -m headway.precompile --planners # once, before two workers do it at the same time
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 -m 'not integration' tests

.PHONY: tools
tools: ## Fetch or build what tests need besides Python: helm, kube-apiserver, etcd
	@e2e/cluster/tools.sh helm >/dev/null
	@e2e/cluster/controlplane.sh >/dev/null

.PHONY: integration
integration: install tools ## Tests against a real kube-apiserver and etcd
	@OMP_NUM_THREADS=1 $(BIN)/pytest -q -m integration tests

.PHONY: test
test: lint tools unit integration ## All that takes minutes: style, types, architecture, unit and integration tests

.PHONY: e2e
e2e: install ## Both images, a three-node kind cluster, the end-to-end suite
	@e2e/run.sh

.PHONY: prove
prove: install ## What is too long for CI: five seeds of the four stages, the zoo's tasks, self-play, 20 kills of each kind of run, studies of up to 200 trials, the depot (DEPOT_MAP)
	@$(BIN)/python benchmarks/four_stages.py configs/default.yaml --seeds 0 1 2 3 4 --keep
	@if [ -n "$(DEPOT_MAP)" ]; then $(BIN)/python benchmarks/four_stages.py configs/depot.yaml --map $(DEPOT_MAP) --keep; \
	 else echo "DEPOT_MAP is not set: the depot is left out"; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python benchmarks/zoo.py && $(BIN)/python benchmarks/zoo.py --table
	@$(BIN)/python benchmarks/selfplay.py
	@mkdir -p runs && $(BIN)/headway bench resume --points 20 --results runs/resume.jsonl
	@HEADWAY_PROVE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/trainer_tests/parallel_tests/test_elastic_resume.py
	@HEADWAY_PROVE_TRIALS=200 OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/trainer_tests/hpo_tests/test_service_survives.py
	@E2E_KEEP=1 E2E_STUDY_TRIALS=24 e2e/run.sh -k exactly_its_trials
	@E2E_STUDY_TRIALS=60 e2e/run.sh -k whoever_is_killed

.PHONY: clean
clean: ## Remove what the other targets made here (not the caches under ~/.cache/headway)
	@rm -rf $(VENV) .e2e runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
