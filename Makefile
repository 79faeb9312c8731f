# Berth. `make demo` shows what it does, `make test` proves it, `make help` lists the rest.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 10s

# The race detector needs cgo and a C compiler.
RACE := $(shell test "$$(go env CGO_ENABLED)" = 1 && command -v "$$(go env CC)" >/dev/null && echo -race)

# What needs no race detector is compiled in one way, so that the compiler's cache serves all of it.
PLAIN := CGO_ENABLED=0 GOFLAGS="$(strip $(shell go env GOFLAGS) -trimpath)"

# A test waits for about as long as it computes: twice as many packages are tested at once as there are processors.
AT_ONCE := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

.PHONY: help build demo test lint fuzz mutants bench conformance-peers e2e-faults e2e-broken e2e-runtimes e2e-services sim sim-exact sim-broken soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/berth, bin/berthd and bin/berthctl
	$(PLAIN) go build -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build ## three nodes, one etcd, nine containers: see it work, within a minute (FAMILY=v6 or both, MODE=routed, vxlan or auto)
	@$(PLAIN) FAMILY=$(FAMILY) MODE=$(MODE) go run ./e2e/demo -bin bin

test: ## run every test, with the race detector where cgo works
	@$(if $(RACE),,echo 'make test: no cgo here, so the race detector is off')
	go test $(RACE) -tags lockorder -count=1 -p $(AT_ONCE) -timeout 2h ./...

lint: ## gofmt, go vet, staticcheck, and Berth's own rules (internal/lint)
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	  test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	$(PLAIN) go vet ./...
	$(PLAIN) go run $(STATICCHECK) ./...
	go test -C internal/lint/vet -count=1 .
	$(PLAIN) go build -C internal/lint/vet -o "$(CURDIR)/.cache/vet" .
	$(PLAIN) go vet -vettool="$(CURDIR)/.cache/vet" ./...
	$(PLAIN) go test -count=1 ./internal/lint

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@grep -rHoE '^func Fuzz[A-Za-z0-9_]*' --include='*_test.go' . | sed 's/:func / /' | while read -r file target; do \
	  echo "fuzz $$target in $$(dirname $$file) for $(FUZZTIME)"; \
	  go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)" </dev/null || exit 1; done

PACKAGES ?= $(addprefix ./,allocator/... lease/record lease/reservation lease/block lease/session agent/journal agent/isolation \
  agent/attach netops/fence)

mutants: ## change PACKAGES in one place at a time, and list the changes that no test notices (CHANGED=COMMIT: in changed lines)
	@$(PLAIN) go run ./internal/mutate/run $(if $(CHANGED),-changed $(CHANGED)) $(MUTANTS) $(PACKAGES)

DURATION ?= 10m
SEED ?= 0

e2e-faults: ## a cluster under random faults for DURATION (10m) in each mode, judged by what the network shows; SEED replays a plan (MODE=routed)
	@failed=0; for fencing in strict evidence; do \
	  $(PLAIN) go run ./e2e/faults/run -seed $(SEED) -duration $(DURATION) -fencing $$fencing $(if $(MODE),-mode $(MODE)) || failed=1; done; exit $$failed

e2e-broken: ## six builds without one guard each: the judge must catch every one of them
	@for tag in $(BROKEN); do \
	  $(PLAIN) go run ./e2e/faults/run -profile $$tag && $(PLAIN) go run ./e2e/faults/run -build $$tag || exit 1; done

OPS ?= 100000
SEEDS ?= 100

# Runs of one seed are the same, for most seeds, in a program whose runtime is ordered: see e2e/sim/order.
ORDERED = dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && overlay=$$($(PLAIN) go run ./e2e/sim/order/overlay "$$dir") && \
  $(PLAIN) go test $${overlay:+-overlay $$overlay -tags ordered} -count=1 -v -timeout 24h ./e2e/sim

sim: ## a cluster on virtual time in one process, until OPS (100000) operations: real agents, etcd's server, a model of the kernel (SEED, NODES, FOR=10m)
	@export SIM_SEED=$(SEED) SIM_OPS=$(OPS) SIM_FOR=$(FOR) SIM_NODES=$(NODES) && $(ORDERED) -run '^TestSimulate$$'

sim-exact: ## which of SEEDS (100) seeds give the same run with one processor and with two
	@export SIM_EXACT=$(SEEDS) && $(ORDERED) -run '^TestRunsOfOneSeedAreTheSame$$'

sim-broken: ## the builds of e2e-broken that a flat pool shows, and each earlier mend taken back, on virtual time: seeds until one breaks a promise (ONLY=name)
	SIM_BROKEN=$(or $(ONLY),all) $(PLAIN) go test ./e2e/sim -run '^TestARunNoticesEachBrokenBuild$$' -count=1 -v -timeout 4h

# The lowest release of etcd that agents accept and that the Go proxy has: see docs/etcd.md.
ETCD_FLOOR ?= 3.6.9

e2e-etcd: ## the leader of a real etcd of the lowest accepted release (ETCD_FLOOR) is paused and resumed: no stale proof
	@dir=$${XDG_CACHE_HOME:-$$HOME/.cache}/berth/etcd/$(ETCD_FLOOR); test -x $$dir/etcd || { mkdir -p $$dir && cd $$dir && \
	  printf 'module etcd\n' >go.mod && printf '//go:build tools\n\npackage tools\n\nimport _ "go.etcd.io/etcd/server/v3"\n' >tools.go && \
	  go get go.etcd.io/etcd/server/v3@v$(ETCD_FLOOR) && go mod tidy && CGO_ENABLED=0 go build -trimpath -o etcd go.etcd.io/etcd/server/v3; } && \
	cd $(CURDIR) && BERTH_ETCD=$$dir/etcd go test -count=1 -v -timeout 10m -run PausedLeader ./lease/session

e2e-systemd: ## README's installation, pasted line by line, on a machine with a real systemd; needs root, and debootstrap once
	$(PLAIN) go run ./e2e/systemd

BROKEN := broken_epoch broken_journal broken_wait broken_settling broken_generation broken_routes

e2e-runtimes: ## the shipped CNI files under containerd 1.6 and 2.x, Podman and nerdctl; needs root, apt-get and the Go proxy
	@$(PLAIN) go run ./e2e/runtimes

e2e-services: ## Services and host ports by a real kube-proxy in each mode (ONLY="routed both"); needs root, apt-get and the Go proxy
	@$(PLAIN) go run ./e2e/services -only '$(ONLY)'

SOAK ?= 1h
RATE ?= 20

soak: build ## SOAK (1h) of ADD and DEL on three nodes, RATE (20) a second, and nothing may have grown
	@$(PLAIN) go run ./e2e/soak -bin bin -duration $(SOAK) -rate $(RATE)

bench: build ## measure ADD and DEL beside the CNI plugins' bridge and host-local
	$(PLAIN) go run ./bench -bin bin

conformance-peers: ## what the CNI project's own plugins fail of the conformance suite
	go test -count=1 -v -run CNIProject ./e2e/conformance

clean: ## remove what was built
	rm -rf bin .cache
