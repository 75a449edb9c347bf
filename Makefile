# Tidings. `make help` lists the targets; `make run` and `make test` need nothing done by hand.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where `make run` listens and keeps its data.
MQTT      ?= 127.0.0.1:1883
HTTP      ?= 127.0.0.1:8080
DEMO_DATA ?= .demo

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME  ?= 20s
CRASH_KILLS ?= 200
BENCH_ARGS ?=
REPORT_ARGS ?=
QUICK ?=
TEN_MILLION ?=
TEST_ARGS ?=

TOOL := go tool -modfile=tools/go.mod

# Debian keeps mosquitto in /usr/sbin, which the path of an ordinary user lacks.
export PATH := $(PATH):/usr/sbin:/usr/local/sbin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## write bin/tidings, static, with the version of the checkout
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidings ./cmd/tidings

.PHONY: run
run: build ## start the demo server (MQTT=host:port HTTP=host:port DEMO_DATA=dir)
	@exec bin/tidings demo --data '$(DEMO_DATA)' --mqtt '$(MQTT)' --http '$(HTTP)'

.PHONY: deps
deps: ## install what the tests need, or name what is missing
	@scripts/deps

.PHONY: test
test: deps ## run every test under the race detector (TEST_ARGS='-run X')
	go test -race -shuffle=on -timeout 20m $(TEST_ARGS) ./...

.PHONY: check
check: ## formatting, vet, lint, dead code, import rules; changes nothing
	@scripts/unchanged $(MAKE) --no-print-directory --keep-going fmt-check vet lint cross deadcode imports

.PHONY: fmt
fmt: ## format every Go file
	$(TOOL) golangci-lint fmt ./...

.PHONY: fmt-check
fmt-check:
	@echo 'gofumpt -l'
	@found=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 -r $(TOOL) gofumpt -l); \
	if [[ -n $$found ]]; then printf 'not formatted, `make fmt` mends it:\n%s\n' "$$found" >&2; exit 1; fi

.PHONY: vet
vet:
	go vet ./...

.PHONY: lint
lint: ## golangci-lint with .golangci.yml (the first run builds it: about 90 s)
	$(TOOL) golangci-lint run ./...

# The code of other systems than this one: the session's portable driver must build there.
.PHONY: cross
cross:
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go build ./...

.PHONY: deadcode
deadcode:
	@echo 'deadcode -test ./...'
	@found=$$($(TOOL) deadcode -test ./...); \
	if [[ -n $$found ]]; then printf 'code that nothing reaches, tests included:\n%s\n' "$$found" >&2; exit 1; fi

.PHONY: imports
imports:
	go test -count=1 ./internal/deptest

.PHONY: bench
bench: ## load test of the whole server; prints figures, writes JSON below bench/out (BENCH_ARGS='…')
	@mkdir -p bench/out
	go run ./bench/load $(BENCH_ARGS)

.PHONY: compare
compare: ## the same load on this server, mosquitto and bare mochi in turn (BENCH_ARGS='…')
	@mkdir -p bench/out
	go run ./bench/compare $(BENCH_ARGS)

.PHONY: bench-report
bench-report: ## measure all of docs/performance.md, about an hour (QUICK=1: minutes; TEN_MILLION=1; REPORT_ARGS='…')
	go run ./bench/performance $(if $(QUICK),-quick) $(if $(TEN_MILLION),-ten-million) $(REPORT_ARGS)

.PHONY: crash
crash: ## long crash run: kill -9 under load, then check every promise (CRASH_KILLS=200)
	TIDINGS_CRASH_KILLS=$(CRASH_KILLS) go test -count=1 -timeout 4h -v ./e2e/crash ./e2e/opencrash

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (20s) each
	@scripts/fuzz '$(FUZZTIME)'

.PHONY: clean
clean: ## remove what builds and benchmarks wrote; keeps the demo's data
	rm -rf bin bench/out e2e/mqttjs/node_modules
