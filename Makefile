# CI runs the same targets as people. `make help` lists them.
SHELL := $(if $(filter Windows_NT,$(OS)),bash,/bin/bash)
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 3000
VENV := .venv
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/lading/__init__.py)
WINDOWS := $(filter Windows_NT,$(OS))
BIN := $(VENV)/$(if $(WINDOWS),Scripts,bin)
UV := $(BIN)/uv$(if $(WINDOWS),.exe)
# uv cannot hard-link from a cache on another file system. It then copies, without a warning.
export UV_LINK_MODE ?= copy
export UV_PYTHON := $(CURDIR)/$(BIN)/python$(if $(WINDOWS),.exe)
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

# A test that hangs is run once more, and named in the summary. Any other failure is final.
HANGS := -rR --reruns 1 --only-rerun "from pytest-timeout"
.PHONY: test
test: $(VENV)/.dev ## run the tests, but not the slow ones (COVERAGE=1: and fail below 90 % coverage)
	$(BIN)/pytest -n auto -m "not slow and not study" --timeout 300 $(HANGS) --durations=10 $(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90) $(ARGS)

# What runs on every system: no training, no cluster, no signals.
CORE := tests/artifact tests/content tests/drift tests/errors tests/protocol tests/settings tests/tensors \
  tests/test_files.py tests/test_machine.py tests/test_spec.py
.PHONY: core
core: $(VENV)/.core ## run the tests of the core, which need neither torch nor Linux
	$(BIN)/python -m pytest -n auto -m "not slow and not study" $(CORE) $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.dev ## send 100,000 mutated requests to a server, over REST and gRPC
	LADING_FUZZ=100000 $(BIN)/pytest -s tests/serve/test_fuzz.py $(ARGS)

.PHONY: cost
cost: $(VENV)/.dev ## send every costly request to a server with the chart's limits, and print what each cost
	mkdir -p build
	LADING_COST_TABLE=build/cost.md $(BIN)/pytest -n 0 tests/cost $(ARGS)
	cat build/cost.md

.PHONY: conformance
conformance: $(VENV)/.dev ## check Lading, KServe's server and MLServer against the protocol's text, and write the page
	PYTHONPATH=src:conformance/src:. $(BIN)/python -m conformance.servers.compare

.PHONY: mistakes
mistakes: $(VENV)/.dev ## write docs/mistakes.md: what users read for their mistakes
	$(BIN)/python -m tests.given.mistakes_page docs/mistakes.md

.PHONY: clients
clients: client-tools build/clients/bin/vegeta build/clients/bin/k6 $(VENV)/.dev ## run every client of tests/clients on a server, and write docs/clients.md
	PYTHONPATH=src $(BIN)/python -m tests.clients.run
	PYTHONPATH=src $(BIN)/python -m tools.clients

MINUTES ?= 60
.PHONY: soak
soak: artifacts/cards/lading.json $(VENV)/.dev ## load a server for MINUTES=60, and fail when memory, files or the tail grow
	$(BIN)/python -m benchmarks.server.soak --minutes $(MINUTES) $(ARGS)

.PHONY: e2e
e2e: $(VENV)/.dev ## run the slow tests: the real Bento, the documentation's commands, the browser
	$(BIN)/pytest -n auto --dist loadgroup -m slow $(HANGS) --durations=10 $(ARGS)

.PHONY: studies
studies: $(VENV)/.dev ## run every study of benchmarks, with sizes that take seconds
	$(BIN)/pytest -n auto -m study $(ARGS)

.PHONY: matrix
matrix: $(VENV)/.dev ## export six networks, and run them in the oldest and the newest onnxruntime that is allowed
	PYTHONPATH=src $(BIN)/python -m tools.runtimes $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: audit
audit: $(UV) ## look up every locked package in the OSV database of vulnerabilities (REQUIRED=1: fail if it cannot be reached)
	@if ! curl --silent --max-time 10 --output /dev/null https://api.osv.dev; then \
	  echo "audit: api.osv.dev cannot be reached, so no package was checked"; exit $(if $(REQUIRED),1,0); \
	fi; \
	for lock in requirements/*.txt; do \
	  echo "audit: $$lock"; \
	  $(UV) run --quiet --no-project --isolated --with-requirements requirements/audit.txt -- pip-audit --strict \
	    --vulnerability-service osv --require-hashes --disable-pip --requirement "$$lock"; \
	done

.PHONY: generate
generate: $(VENV)/.dev ## write the generated files: schemas, tables of commands, settings and chart values, diagrams, protobuf
	$(BIN)/python -m tools.generate
	cd src && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
	  lading/protocol/proto/inference.proto
	cd conformance/src && ../../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. \
	  oip_conformance/proto/oip.proto

.PHONY: check-generated
check-generated: generate ## fail if a generated file is not up to date
	git diff --exit-code -- docs helm src/lading/protocol/proto conformance/src/oip_conformance/proto k8s/gke/monitoring k8s/kserve

.PHONY: dist
TAG ?= v$(VERSION)
dist: build/tools/helm $(VENV)/.dev ## make the files of a release in dist: wheel, sdist, chart, documentation, notes, checksums
	.ci/release check $(TAG)
	.ci/release files $(TAG)

build/cards-values.yaml: artifacts/cards/lading.json
	$(BIN)/lading values artifacts/cards --rate $(or $(RATE),100) > $@

.PHONY: load-report
load-report: artifacts/cards/lading.json $(VENV)/.dev ## load test of URL with the key LOAD_KEY; CSV and HTML stay in runs/load
	umask 077 && printf '%s\n' "$${LOAD_KEY:-}" > build/load-key
	$(BIN)/lading load artifacts/cards --url $(URL) --grpc off $(if $(LOAD_KEY),--key build/load-key) --users plain,v2-binary \
	  --rate $(or $(RATE),20) --seconds $(or $(SECONDS),60) --slo $(or $(SLO),p99=500ms,errors=0.1%) --out runs/load

# What retrain.yaml does. MODEL is cards or molecules; CHECKPOINT one of a registry, or empty to train with DVC.
MODEL ?= cards
SPEC = models/$(MODEL).py:$(if $(filter molecules,$(MODEL)),Molecules,Cards)
.PHONY: retrain
retrain: $(VENV)/.dev ## train and build MODEL again as artifacts/candidate: with DVC, or from CHECKPOINT of a registry
	rm -rf artifacts/candidate
ifneq ($(CHECKPOINT),)
	$(BIN)/lading build $(SPEC) --checkpoint "$(CHECKPOINT)" --out artifacts/candidate
else
	$(if $(DVC_REMOTE),cd configs/dvc && ../../$(BIN)/dvc remote add --local --force --default remote $(DVC_REMOTE))
	$(if $(DVC_REMOTE),cd configs/dvc && ../../$(BIN)/dvc pull --allow-missing)
	cd configs/dvc && PATH="$(CURDIR)/$(BIN):$$PATH" ../../$(BIN)/dvc repro build-$(MODEL)
	cp -r artifacts/$(MODEL)-dvc artifacts/candidate
endif
	$(BIN)/lading report artifacts/candidate --out build/report.html

.PHONY: gate
gate: artifacts/$(MODEL)/lading.json $(VENV)/.dev ## fail unless artifacts/candidate answers as MODEL's released artifact does
	$(BIN)/lading compare artifacts/$(MODEL) artifacts/candidate --min-agreement $(or $(AGREEMENT),0.9)

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
trainer-image: IMAGE = lading-trainer:1
trainer-image: ## build the image for training as IMAGE, lading-trainer:1 (DEVICE=cuda or cpu)
	BUILD_OPTIONS="--build-arg DEVICE=$(or $(DEVICE),cuda) $(BUILD_OPTIONS)" docker/build trainer "$(IMAGE)"

.PHONY: batch-image
batch-image: IMAGE = lading-batch:$(VERSION)
batch-image: ## build the image of k8s/batch/rayjob.yaml as IMAGE, lading-batch:$(VERSION)
	docker/build batch "$(IMAGE)"

.PHONY: demo
demo: $(VENV)/.dev ## run the demo app for a running server (LADING_URL), on port 8501
	$(BIN)/streamlit run frontend/app.py --client.toolbarMode=minimal

# Helm and the tools that test a chart are Go programs. These are the versions that the chart is tested with.
TOOLS := build/tools
HELM_VERSION := v4.1.4
HELM_UNITTEST_VERSION := v1.0.3
KUBECTL_VALIDATE_VERSION := v0.0.4
ACTIONLINT_VERSION := v1.7.12
KIND_VERSION := v0.31.0
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

$(TOOLS)/kind:
	$(GO_INSTALL) sigs.k8s.io/kind@$(KIND_VERSION)

$(TOOLS)/kubectl-validate:
	$(GO_INSTALL) sigs.k8s.io/kubectl-validate@$(KUBECTL_VALIDATE_VERSION)

# Programs of tests/clients: those in Go are built, and Node's packages are installed. The others come from Debian.
CLIENTS := build/clients
GRPCURL_VERSION := v1.9.4
GHZ_VERSION := v0.93.0
VEGETA_VERSION := v12.13.0
K6_VERSION := v1.8.1

.PHONY: client-tools
client-tools: $(CLIENTS)/bin/.stamp $(CLIENTS)/node/.stamp ## build the clients in Go and install those for Node (needs Go and npm)

$(CLIENTS)/bin/.stamp: $(wildcard tests/clients/go/*/*.go tests/clients/go/go.* tests/clients/expfmt/*) | $(CLIENTS)/bin/ghz
	go build -C tests/clients/go -o $(CURDIR)/$(CLIENTS)/bin/ ./...
	go build -C tests/clients/expfmt -o $(CURDIR)/$(CLIENTS)/bin/ .
	touch $@

$(CLIENTS)/bin/ghz:
	mkdir -p $(CLIENTS)/bin
	GOBIN=$(CURDIR)/$(CLIENTS)/bin GOFLAGS=-p=2 go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)
	GOBIN=$(CURDIR)/$(CLIENTS)/bin GOFLAGS=-p=2 go install github.com/bojand/ghz/cmd/ghz@$(GHZ_VERSION)

$(CLIENTS)/bin/vegeta:
	GOBIN=$(CURDIR)/$(CLIENTS)/bin GOFLAGS=-p=2 go install github.com/tsenart/vegeta/v12@$(VEGETA_VERSION)

$(CLIENTS)/bin/k6:
	GOBIN=$(CURDIR)/$(CLIENTS)/bin GOFLAGS=-p=2 go install go.k6.io/k6@$(K6_VERSION)

$(CLIENTS)/node/.stamp: tests/clients/node/package.json tests/clients/node/package-lock.json
	mkdir -p $(CLIENTS)/node
	cp $^ $(CLIENTS)/node
	npm ci --silent --ignore-scripts --no-audit --prefix $(CLIENTS)/node
	touch $@

# Schemas of custom resources, from the projects' Go modules.
CRDS := $(TOOLS)/crds
KSERVE_VERSION := v0.20.0
GATEWAY_API_VERSION := v1.4.0
KEDA_VERSION := v2.18.0
PROMETHEUS_OPERATOR_VERSION := v0.85.0
KUBERAY_VERSION := v1.6.0
MODULE_DIR = $$(go mod download -json $(1) | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')

$(CRDS)/.stamp: Makefile tests/chart/gke-crds.yaml
	rm -rf $(CRDS) && mkdir -p $(CRDS)
	cp $(call MODULE_DIR,github.com/kserve/kserve@$(KSERVE_VERSION))/config/crd/full/serving.kserve.io_*.yaml $(CRDS)
	cp $(call MODULE_DIR,sigs.k8s.io/gateway-api@$(GATEWAY_API_VERSION))/config/crd/standard/*.yaml $(CRDS)
	cp $(call MODULE_DIR,github.com/kedacore/keda/v2@$(KEDA_VERSION))/config/crd/bases/keda.sh_*.yaml $(CRDS)
	cp $(call MODULE_DIR,github.com/prometheus-operator/prometheus-operator@$(PROMETHEUS_OPERATOR_VERSION))/example/prometheus-operator-crd/*.yaml $(CRDS)
	cp $(call MODULE_DIR,github.com/ray-project/kuberay/ray-operator@$(KUBERAY_VERSION))/config/crd/bases/ray.io_rayjobs.yaml $(CRDS)
	chmod -R u+w $(CRDS) && cp tests/chart/gke-crds.yaml $(CRDS) && touch $@

.PHONY: test-chart
test-chart: chart-tools $(CRDS)/.stamp $(VENV)/.dev ## lint and test the chart and the workflows, and validate all rendered manifests and those in k8s
	TESTS_NEED_TOOLS=1 $(BIN)/pytest tests/chart/test_chart.py tests/k8s $(ARGS)

ARTIFACT ?= artifacts/cards
# The lock file that the serving image installs: bento, or serve without BentoML.
REQUIREMENTS ?= bento
IMAGE ?= $(notdir $(ARTIFACT)):$(shell sha256sum $(ARTIFACT)/lading.json 2>/dev/null | sed -E 's/^(.{12}).*/1-\1/')

.PHONY: image
image: $(ARTIFACT)/lading.json build/$(REQUIREMENTS).cdx.json ## build the serving image of ARTIFACT as IMAGE; REQUIREMENTS=serve leaves BentoML out
	REQUIREMENTS=$(REQUIREMENTS) docker/build serve "$(IMAGE)" "$(ARTIFACT)"
	@echo "image: $(IMAGE)"

.PHONY: frontend-image
frontend-image: IMAGE = lading-frontend:1
frontend-image: ## build the demo's image as IMAGE, lading-frontend:1
	docker/build frontend "$(IMAGE)"

.PHONY: drift-image
drift-image: IMAGE = lading-drift:1
drift-image: build/drift.cdx.json ## build the image of `lading drift serve`, with Evidently, as IMAGE, lading-drift:1
	docker/build drift "$(IMAGE)"

E2E_IMAGE ?= $(IMAGE)

.PHONY: e2e-cluster
e2e-cluster: $(VENV)/.dev ## test installs, rollouts and bad releases on the cluster of KUBECONFIG; its nodes need E2E_IMAGE
	LADING_E2E_IMAGE="$(E2E_IMAGE)" $(BIN)/pytest -m slow tests/e2e/cluster -rA -s $(ARGS)

.PHONY: e2e-cluster-full
e2e-cluster-full: export LADING_E2E := full
e2e-cluster-full: e2e-cluster ## run the same with 50,000 requests, drains, killed workers and every kind of bad release

# The bill of materials of each image: every wheel of its lock with the hashes, as CycloneDX.
BOMS := $(patsubst %,build/%.cdx.json,bento serve drift load frontend build batch)
.PHONY: boms
boms: $(BOMS) ## write the bill of materials of every image

$(BOMS): build/%.cdx.json: requirements/%.txt | $(VENV)/.dev
	mkdir -p build
	$(BIN)/cyclonedx-py requirements $< --pyproject pyproject.toml --output-reproducible --of JSON -o $@

.PHONY: lock
lock: $(UV) ## resolve requirements/*.txt from pyproject.toml
	for set in serve bento drift load build dev batch; do \
	  case $$set in serve) extras="--extra serve --extra payload --extra otel --extra text --extra audio";; bento) extras="--extra bento --extra payload --extra otel --extra text --extra audio";; \
	    drift) extras="--extra serve --extra payload --extra drift --extra text --extra audio --constraint requirements/dev.txt";; \
	    load) extras="--extra serve --extra load --extra kubernetes --extra text --extra audio";; \
	    build) extras="--extra bento --extra build --extra cards --extra molecules --extra kubernetes --extra payload --extra text --extra audio";; \
	    dev) extras="--all-extras";; batch) extras="--extra score --extra ray --extra text --extra audio --constraint requirements/dev.txt";; esac; \
	  $(UV) pip compile pyproject.toml $$extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --quiet --output-file requirements/$$set.txt; \
	done
	echo uv==0.13.9 | $(UV) pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --quiet --output-file requirements/uv.txt
	echo mlflow==3.17.2 | $(UV) pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --quiet --output-file requirements/mlflow.txt
	printf '%s\n' timm==1.0.31 transformers==5.24.0 tokenizers xgboost-cpu lightgbm onnxmltools huggingface-hub regex httpx2 httpcore2 truststore | $(UV) pip compile - \
	  --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet \
	  --output-file requirements/hubs.txt
	echo pip-audit==2.10.1 | $(UV) pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --quiet --output-file requirements/audit.txt
	printf '%s\n' hypothesis jsonschema onnx pytest pytest-timeout pytest-xdist pyyaml | $(UV) pip compile pyproject.toml - --extra serve --extra payload --constraint requirements/dev.txt --universal \
	  --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet \
	  --output-file requirements/core.txt
	$(UV) pip compile frontend/requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --quiet --output-file requirements/frontend.txt

.PHONY: pin
pin: ## read the newest digest of every image that is named by tag and digest (needs docker and a network)
	@grep -rhoE '[a-z0-9./-]+:[a-zA-Z0-9._-]+@sha256:[0-9a-f]{64}' docker k8s .github | sort -u | while read -r image; do \
	  tag=$${image%@*}; digest=$$(docker buildx imagetools inspect "$$tag" --format '{{.Manifest.Digest}}'); \
	  echo "$$tag $$digest"; \
	  grep -rlF "$$image" docker k8s .github | xargs sed -i "s#$$image#$$tag@$$digest#"; \
	done

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt

# One stamp per set of requirements: make installs again only when a lock file changes.
$(VENV)/.build: requirements/build.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements/build.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@

$(VENV)/.core: requirements/core.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements/core.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml | $(UV)
	$(UV) pip install --quiet --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@ $(VENV)/.build
