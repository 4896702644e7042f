# pgspan. `make help` lists the targets. On a fresh Debian 12 machine with Go, git and make, as root:
#   make demo   builds everything, installs one site of three nodes, loads real data, shows it
#   make test   everything that must pass
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Every Go module of the repository that holds code of ours (component modules of the lab are build lists, not code).
MODULES := . test test/lab

CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pgspan
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0-dev)
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

# ---- check: what a commit needs ----

.PHONY: check fmt lint unit charts golden
check: fmt lint unit charts ## format, lint, unit and chart tests (under 12 minutes warm)

fmt: ## fail on files that gofmt would change
	@files=$$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l); \
	if [ -n "$$files" ]; then echo "gofmt would change:"; echo "$$files"; exit 1; fi

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION) (about a minute, once)"
	GOBIN=$(dir $@) $(NICE) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

lint: $(GOLANGCI) ## golangci-lint over every module
	@for m in $(MODULES); do echo "lint $$m"; (cd $$m && $(NICE) $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...); done

unit: ## unit tests over every module, with real PostgreSQL servers (needs root and `make images` once)
	$(NICE) go test -timeout 15m ./...
	cd test/lab && $(NICE) go test -timeout 10m ./...

charts: ## rendered charts, refusals, schema
	cd test && $(NICE) go test -timeout 10m ./charts/...

.PHONY: vuln
vuln: ## govulncheck over every module, where its database can be reached
	@for m in $(MODULES); do (cd $$m && go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...); done

# ---- whole ----

.PHONY: test clean
test: ## everything that must pass
	@test/all.sh

clean: ## stop the lab and remove what was built here (caches stay; `make clean-cache` removes them)
	@if [ -x bin/lab ]; then bin/lab down; fi
	rm -rf bin dist

.PHONY: clean-cache
clean-cache: ## remove built components and images from the user's cache
	rm -rf $(CACHE)
