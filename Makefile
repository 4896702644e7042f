# pgspan. `make help` lists the targets. On a fresh Debian 12 machine with Go, git and make, as root:
#   make demo   builds everything, installs one site of three nodes, loads real data, shows it
#   make test   everything that must pass
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Every Go module of the repository that holds code of ours (component modules of the lab are build lists, not code).
MODULES := . images/build test test/lab

CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pgspan
# As the chart writes it, without the v of git's tags.
VERSION  := $(patsubst v%,%,$(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0-dev))
# The images' tag. What is not committed gets a tag of its own content: a node that has a tag does not pull it again.
ifndef TAG
TAG := $(shell git diff --quiet HEAD 2>/dev/null && echo $(VERSION) || echo $(VERSION)-$$(git diff HEAD | sha256sum | cut -c1-8))
endif
export TAG
# The registry inside the lab, as this machine reaches it; pods call it registry.lab.
REGISTRY ?= 198.18.255.1:5000
SITES    ?= a
NODES    ?= 3
GOLANGCI_VERSION := v2.5.0
GOLANGCI := $(CACHE)/tools/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
# Machines that are also used for other things stay usable while this builds.
NICE := nice -n 5

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: deps
deps: ## install the Debian packages that building and the lab need (root on Debian; otherwise says what is missing)
	@test/deps.sh

# ---- build ----

.PHONY: agents lab images push sbom
agents: ## build the agents for this machine into bin/
	$(NICE) go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/ ./agents/...

lab: deps ## build bin/lab and the Kubernetes it runs (about 10 minutes the first time, cached by content)
	cd test/lab && $(NICE) go build -o ../../bin/lab ./cmd/lab
	bin/lab build

images: ## build all images, with docker, podman or buildah (`make images push REGISTRY=…` pushes them too)
	@test/deps.sh images
	$(NICE) go run -C images/build . build all

push: images ## push the images to REGISTRY
	$(NICE) go run -C images/build . push --registry $(REGISTRY) all
	@echo "for helm: --set global.imageRegistry=$(REGISTRY) --set-string global.imageTag=$(TAG)"

.PHONY: tag
tag: ## print the images' tag, for Helm
	@echo $(TAG)

sbom: images ## bills of materials (SPDX) into dist/sbom/
	$(NICE) go run -C images/build . sbom

# ---- check: what a commit needs ----

# Tests with several real members take minutes each: `make sites` runs them, `make check` leaves them out.
SITES_TESTS := ^(TestSite|TestOrders|TestRollout|TestSynchronousMode|TestFailsafe|TestUnwellServer|TestUnwellVolume|TestLongRecovery)$$

# Runs go test as usual, and keeps how each test ended for make matrix.
MATRIX := $(CURDIR)/bin/matrix
.PHONY: $(MATRIX)
$(MATRIX):
	@cd test && $(NICE) go build -o $@ ./matrix
RUN = $(NICE) $(MATRIX) run -root $(CURDIR)

.PHONY: matrix
matrix: $(MATRIX) ## what is promised about who may write, the test that shows it, and how that ended last; a line without a test fails
	@$(MATRIX) show

.PHONY: check fmt lint unit charts golden
check: fmt lint unit charts ## format, lint, unit and chart tests (under 12 minutes warm)

fmt: ## fail on files that gofmt would change
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) (about a minute, once)"
	GOBIN=$(dir $@) $(NICE) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

lint: $(GOLANGCI) ## golangci-lint over every module (waits for another run of it)
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(NICE) $(GOLANGCI) run --allow-serial-runners --config $(CURDIR)/.golangci.yml ./...); done

# The agents' packages with what their tests import; REAL are those that start servers.
PACKAGES = go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./...
REAL     = internal.(pgtest|podtest|kubetest)

unit: $(MATRIX) ## unit tests over every module, with real PostgreSQL servers (needs root and `make images` once)
	# One package at a time of those that start real servers: a starved machine is not what most of them are about.
	$(RUN) unit -- go test -p 2 -timeout 15m $$($(PACKAGES) | awk '!/$(REAL)/{print $$1}')
	$(RUN) unit -- go test -p 1 -timeout 15m -skip '$(SITES_TESTS)' $$($(PACKAGES) | awk '/$(REAL)/{print $$1}')
	cd images/build && $(RUN) unit -- go test -timeout 10m ./...
	cd test/lab && $(RUN) unit -- go test -timeout 10m ./...
	cd test && $(RUN) unit -- go test -timeout 10m ./demo/... ./writer/... ./cluster/... ./previous/... ./docs/... ./bench/... ./matrix/... ./soak/...

.PHONY: sites
sites: $(MATRIX) ## sites of real members without a cluster: what people order, synchronous mode, the API away (about a quarter of an hour)
	$(RUN) sites -- go test -timeout 25m -run '$(SITES_TESTS)' ./agents/keeper

.PHONY: explore
explore: ## explore the protocol of keeper and guard further than `make check` does (DEPTH=2: about an hour)
	EXPLORE_DEPTH=$(or $(DEPTH),2) $(NICE) go test -timeout 24h -count=1 -v -run NoSchedule ./agents/internal/explore

charts: $(MATRIX) ## rendered charts, refusals, schema
	cd test && $(RUN) charts -- go test -timeout 10m ./charts/...

golden: $(MATRIX) ## render the chart's examples and the page of the matrix anew, to be read in review
	-@$(MATRIX) show -page docs/dev/matrix.md >/dev/null
	cd test && $(NICE) go test -count=1 ./charts/... -update

# Each adds what it measures to docs/bench and renders its page there; BENCH='…' passes flags.
.PHONY: bench-agent bench-failover bench-pgbench bench-seed
bench-agent: up ## what keeper and guard cost at rest: memory and processor time over 10 minutes, beside a minimal server
	cd test && PATH="$$(../bin/lab build):$$PATH" go run ./bench/agent -kubeconfig $$(../bin/lab kubeconfig) -tag $(TAG) $(BENCH)

TRIALS ?= 20
bench-failover: up $(MATRIX) ## how long nobody can write when the primary goes away, beside Patroni (TRIALS=n of each case; 20 take some five hours, and go on if interrupted)
	$(NICE) go run -C images/build . push --registry $(REGISTRY) patroni
	cd test && $(NICE) go build -o ../bin/bench-failover ./bench/failover
	@cd test && PATH="$$(../bin/lab build):$$PATH" $(MATRIX) note -root $(CURDIR) bench-failover -- ../bin/bench-failover -kubeconfig $$(../bin/lab kubeconfig) -lab ../bin/lab -tag $(TAG) -trials $(TRIALS) $(BENCH)

bench-pgbench: ## pgbench on a server with agents against the same one without, in turns (about ten minutes)
	cd test && go run ./bench/pgbench $(BENCH)

bench-seed: ## speed of a clone against plain pg_basebackup, in turns, 0.5 to 4 GB (about an hour; goes on if interrupted)
	cd test && go run ./bench/seed $(BENCH)

.PHONY: vuln
vuln: ## govulncheck over every module, where its database can be reached
	@for m in $(MODULES); do (cd $$m && go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...); done

# ---- whole ----

# Where the lab keeps the helm and kubectl that it built (printed last; progress goes to standard error).
LAB_PATH = $$(bin/lab build)

.PHONY: up demo e2e fresh test clean
up: lab ## bring up the lab (SITES=a,b NODES=3) and push the images into it
	bin/lab up --sites $(SITES) --nodes $(NODES)
	$(MAKE) -s push

demo: up ## one site, one release, real data through pgpool, and the data after all pods were deleted
	cd test && $(NICE) go build -o ../bin/demo-run ./demo
	PATH="$(LAB_PATH):$$PATH" bin/demo-run --kubeconfig $$(bin/lab kubeconfig) --site a --tag $(TAG) --lab bin/lab

e2e: agents up $(MATRIX) ## end-to-end tests in the lab, and the commands of the documentation
	cd test && PATH="$$(../bin/lab build):$$PATH" PGSPAN_TAG=$(TAG) PGSPAN_REGISTRY=$(REGISTRY) PGSPAN_KUBECONFIG=$$(../bin/lab kubeconfig) \
		$(NICE) $(MATRIX) run -root $(CURDIR) -v e2e -- go test -p 1 -timeout 40m -count=1 -v -tags lab ./e2e ./docs

.PHONY: lab-selftest
lab-selftest: lab ## show that each of the lab's faults bites and heals, and that down leaves nothing (five minutes; ends the lab that is up)
	bin/lab up --sites a,b --nodes 2 --replace
	bin/lab selftest
	bin/lab down
	bin/lab selftest --down

.PHONY: soak
soak: up $(MATRIX) ## random faults under load, MINUTES=60 SEED=1: no two writers, nothing lost, no register that goes back; adds to docs/bench/soak.jsonl
	cd test && $(NICE) go build -o ../bin/soak ./soak
	cd test && PATH="$$(../bin/lab build):$$PATH" $(MATRIX) note -root $(CURDIR) soak -- ../bin/soak -kubeconfig $$(../bin/lab kubeconfig) -tag $(TAG) -minutes $(or $(MINUTES),60) -seed $(or $(SEED),1) $(SOAK)

fresh: ## prove the install steps in a bare bookworm tree (about 45 minutes)
	test/fresh.sh

test: ## everything that must pass
	@test/all.sh

clean: ## stop the lab and remove what was built here (caches stay; `make clean-cache` removes them)
	@if [ -x bin/lab ]; then bin/lab down; fi
	rm -rf bin dist

.PHONY: clean-cache
clean-cache: ## remove built components and images from the user's cache
	rm -rf $(CACHE)
