# CI runs the same targets as people. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 3000
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
UV := $(BIN)/uv
# uv cannot hard-link from a cache on another file system. It then copies, without a warning.
export UV_LINK_MODE ?= copy
export UV_PYTHON := $(CURDIR)/$(BIN)/python
export BENTOML_DO_NOT_TRACK := true
export ORT_DISABLE_TELEMETRY := 1
export WANDB_MODE ?= offline

.PHONY: serve
serve: artifacts/cards/lading.json ## install, build the cards model if needed, serve it on port 3000
	@echo "serving artifacts/cards on http://127.0.0.1:$(PORT) (stop with Ctrl-C)"
	@echo "  curl --data-binary @examples/ace-of-hearts.jpg http://127.0.0.1:$(PORT)/classify"
	$(BIN)/bentoml serve --port $(PORT)

artifacts/cards/lading.json: $(wildcard models/*.py models/card_decks/*.py models/cards*.safetensors) | $(VENV)/.build
	$(BIN)/lading build models/cards.py:Cards

.PHONY: serve-molecules
serve-molecules: artifacts/molecules/lading.json ## do the same for the molecules model; its page has a box for SMILES
	@echo "serving artifacts/molecules on http://127.0.0.1:$(PORT) (stop with Ctrl-C)"
	@echo "  curl -d CCO http://127.0.0.1:$(PORT)/predict/smiles"
	LADING_TEXT_FORMS=smiles=models.molecule_graphs.smiles:read_smiles \
	  $(BIN)/lading serve artifacts/molecules --port $(PORT)

artifacts/molecules/lading.json: $(wildcard models/molecules* models/molecule_graphs/*.py) | $(VENV)/.dev
	$(BIN)/lading build models/molecules.py:Molecules

.PHONY: test
test: $(VENV)/.dev ## run the tests, but not the slow ones (COVERAGE=1: and fail below 90 % coverage)
	$(BIN)/pytest -n auto -m "not slow" --durations=10 $(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90) $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev ## send 100,000 mutated requests to a server, over REST and gRPC
	LADING_FUZZ=100000 $(BIN)/pytest -s tests/serve/test_fuzz.py $(ARGS)

MINUTES ?= 60
.PHONY: soak
soak: artifacts/cards/lading.json $(VENV)/.dev ## load a server for MINUTES=60, and fail when memory, files or the tail grow
	$(BIN)/python -m benchmarks.server.soak --minutes $(MINUTES) $(ARGS)

.PHONY: e2e
e2e: $(VENV)/.dev ## run the slow tests: the real Bento, the documentation's commands, the browser
	$(BIN)/pytest -n auto --dist loadgroup -m slow --durations=10 $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: generate
generate: $(VENV)/.dev ## write the generated files: schemas, tables of commands, settings and chart values, diagrams, protobuf
	$(BIN)/python -m tools.generate
	cd src && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
	  lading/protocol/proto/inference.proto

.PHONY: check-generated
check-generated: generate ## fail if a generated file is not up to date
	git diff --exit-code -- docs helm src/lading/protocol/proto k8s/gke/monitoring k8s/kserve

.PHONY: watch
watch: artifacts/cards/lading.json $(VENV)/.dev ## run a server under load, its status page, and Prometheus with the real rules
	$(BIN)/python -m tools.watch $(ARGS)

.PHONY: bench
bench: artifacts/cards/lading.json $(VENV)/.dev ## compare Lading with its peers and with the limits of this machine (half an hour; two cores)
	$(BIN)/python -m benchmarks.server.compare all

.PHONY: bench-variants
bench-variants: artifacts/cards/lading.json $(VENV)/.dev ## measure the cards variants in full and write the report
	$(BIN)/lading verify models/cards.py:Cards --effort full

.PHONY: bench-loader
bench-loader: $(VENV)/.dev ## measure training pictures per second by number of loader processes, with a plot
	$(BIN)/python -m benchmarks.studies.0017_loader --out docs/images

.PHONY: trainer-image
trainer-image: ## build the image for training, as lading-trainer:1 (CONTAINER=docker, podman or buildah; DEVICE=cuda or cpu)
	$(or $(CONTAINER),docker) build --build-arg DEVICE=$(or $(DEVICE),cuda) -f docker/trainer.Containerfile -t lading-trainer:1 $(BUILD_OPTIONS) .

.PHONY: batch-image
batch-image: ## build the image of k8s/batch/rayjob.yaml (CONTAINER=docker, podman or buildah)
	$(or $(CONTAINER),docker) build -f docker/batch.Containerfile -t lading-batch:0.1.0 $(BUILD_OPTIONS) .

.PHONY: demo
demo: $(VENV)/.dev ## run the demo app for a running server (LADING_URL), on port 8501
	$(BIN)/streamlit run frontend/app.py --browser.gatherUsageStats=false --client.toolbarMode=minimal

# Helm and the tools that test a chart are Go programs. These are the versions that the chart is tested with.
TOOLS := build/tools
HELM_VERSION := v4.1.4
HELM_UNITTEST_VERSION := v1.0.3
KUBECTL_VALIDATE_VERSION := v0.0.4
ACTIONLINT_VERSION := v1.7.12
GO_INSTALL = GOBIN=$(CURDIR)/$(TOOLS) GOFLAGS=-p=2 go install

.PHONY: chart-tools
chart-tools: $(TOOLS)/helm $(TOOLS)/helm-unittest $(TOOLS)/kubectl-validate $(TOOLS)/actionlint ## build helm, helm-unittest, kubectl-validate and actionlint (needs Go)

$(TOOLS)/helm:
	$(GO_INSTALL) helm.sh/helm/v4/cmd/helm@$(HELM_VERSION)

# Its go.mod has a replace directive, which `go install` refuses; building in the module's folder does not.
$(TOOLS)/helm-unittest:
	mkdir -p $(TOOLS)
	folder=$$(go mod download -json github.com/helm-unittest/helm-unittest@$(HELM_UNITTEST_VERSION) | sed -n 's/.*"Dir": "\(.*\)",*/\1/p'); \
	  GOFLAGS=-p=2 go build -C "$$folder" -o $(CURDIR)/$@ ./cmd/helm-unittest

$(TOOLS)/actionlint:
	$(GO_INSTALL) github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

$(TOOLS)/kubectl-validate:
	$(GO_INSTALL) sigs.k8s.io/kubectl-validate@$(KUBECTL_VALIDATE_VERSION)

# Schemas of custom resources, from the projects' Go modules.
CRDS := $(TOOLS)/crds
KSERVE_VERSION := v0.20.0
GATEWAY_API_VERSION := v1.4.0
KEDA_VERSION := v2.18.0
PROMETHEUS_OPERATOR_VERSION := v0.85.0
MODULE_DIR = $$(go mod download -json $(1) | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')

$(CRDS)/.stamp: Makefile tests/chart/gke-crds.yaml
	rm -rf $(CRDS) && mkdir -p $(CRDS)
	cp $(call MODULE_DIR,github.com/kserve/kserve@$(KSERVE_VERSION))/config/crd/full/serving.kserve.io_*.yaml $(CRDS)
	cp $(call MODULE_DIR,sigs.k8s.io/gateway-api@$(GATEWAY_API_VERSION))/config/crd/standard/*.yaml $(CRDS)
	cp $(call MODULE_DIR,github.com/kedacore/keda/v2@$(KEDA_VERSION))/config/crd/bases/keda.sh_*.yaml $(CRDS)
	cp $(call MODULE_DIR,github.com/prometheus-operator/prometheus-operator@$(PROMETHEUS_OPERATOR_VERSION))/example/prometheus-operator-crd/*.yaml $(CRDS)
	chmod -R u+w $(CRDS) && cp tests/chart/gke-crds.yaml $(CRDS) && touch $@

.PHONY: test-chart
test-chart: chart-tools $(CRDS)/.stamp $(VENV)/.dev ## lint and test the chart and the workflows, and validate all rendered manifests and those in k8s
	LADING_NEEDS_TOOLS=1 $(BIN)/pytest tests/chart/test_chart.py tests/k8s $(ARGS)

ARTIFACT ?= artifacts/cards
# The lock file that the serving image installs: bento, or serve without BentoML.
REQUIREMENTS ?= bento
IMAGE ?= $(notdir $(ARTIFACT)):$(shell sha256sum $(ARTIFACT)/lading.json 2>/dev/null | sed -E 's/^(.{12}).*/1-\1/')

.PHONY: image
image: $(ARTIFACT)/lading.json build/$(REQUIREMENTS).cdx.json ## build the serving image of ARTIFACT as IMAGE; REQUIREMENTS=serve leaves BentoML out
	REQUIREMENTS=$(REQUIREMENTS) docker/build serve "$(IMAGE)" "$(ARTIFACT)"
	@echo "image: $(IMAGE)"

.PHONY: frontend-image
frontend-image: ## build the demo's image as IMAGE
	docker/build frontend "$(IMAGE)"

E2E_IMAGE ?= $(IMAGE)

.PHONY: e2e-cluster
e2e-cluster: $(VENV)/.dev ## test installs, rollouts and bad releases on the cluster of KUBECONFIG; its nodes need E2E_IMAGE
	LADING_E2E_IMAGE="$(E2E_IMAGE)" $(BIN)/pytest -m slow tests/e2e/cluster -rA -s $(ARGS)

.PHONY: e2e-cluster-full
e2e-cluster-full: export LADING_E2E := full
e2e-cluster-full: e2e-cluster ## run the same with 50,000 requests, drains, killed workers and every kind of bad release

# The bill of materials of the serving image: every wheel of the lock with its hashes, as CycloneDX.
build/serve.cdx.json build/bento.cdx.json: build/%.cdx.json: requirements/%.txt | $(VENV)/.dev
	mkdir -p build
	$(BIN)/cyclonedx-py requirements $< --pyproject pyproject.toml --output-reproducible --of JSON -o $@

.PHONY: lock
lock: $(UV) ## resolve requirements/*.txt from pyproject.toml
	for set in serve bento load build dev batch; do \
	  case $$set in serve) extras="--extra serve";; bento) extras="--extra bento";; load) extras="--extra serve --extra load --extra kubernetes";; \
	    build) extras="--extra bento --extra build --extra cards --extra kubernetes";; \
	    dev) extras="--all-extras";; batch) extras="--extra score --extra ray --constraint requirements/dev.txt";; esac; \
	  $(UV) pip compile pyproject.toml $$extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --quiet --output-file requirements/$$set.txt; \
	done
	$(UV) pip compile frontend/requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --quiet --output-file requirements/frontend.txt

.PHONY: clean
clean: ## remove all build outputs, but not .venv
	rm -rf build artifacts dist runs outputs .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

$(UV):
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
	  || { echo "Python 3.11 to 3.14 is needed; choose one with: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# One stamp per set of requirements: make installs again only when a lock file changes.
$(VENV)/.build: requirements/build.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements/build.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@ $(VENV)/.build
