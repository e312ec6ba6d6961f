# Each target installs what it needs first (tests/setup.sh) and can be run again at any time.

# On NixOS everything runs inside the flake's dev shell.
ifneq ($(wildcard /etc/NIXOS),)
ifndef IN_NIX_SHELL
IN := nix develop --command
endif
endif

CARGO := $(IN) cargo
SETUP := $(IN) tests/setup.sh
# Looked up when a recipe gets there: the set-up comes first.
FLAGS := --locked --workspace $$($(IN) tests/setup.sh flags)
TARGET := $${CARGO_TARGET_DIR:-target}
# Without a person at a terminal the demo ends by itself.
DEMO_FLAGS ?= $(shell test -t 0 || echo --once)
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo test fmt lint bench fuzz image packaging

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a server, a host with a real desktop and an MCP client on loopback, and the pictures they make
	$(SETUP) demo
	$(CARGO) build $(FLAGS) --release --bin deskhand
	$(IN) $(TARGET)/release/deskhand demo $(DEMO_FLAGS)

test: lint ## everything CI checks: formatting, lints, documentation, licences, all tests
	$(CARGO) build $(FLAGS) --bin deskhand
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny --locked check bans licenses sources; \
	fi
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) test $(FLAGS) --doc --quiet && \
		$(CARGO) nextest run $(FLAGS) --profile $(if $(CI),ci,default); \
	else \
		$(CARGO) test $(FLAGS) --no-fail-fast; \
	fi

fmt: ## format the sources
	$(CARGO) fmt --all

lint: ## formatting, clippy and documentation, all without a warning
	$(SETUP)
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(FLAGS) --no-deps --document-private-items --quiet

bench: ## measure against the budgets; exit status 1 when one is missed
	$(SETUP)
	$(CARGO) build $(FLAGS) --release --bin deskhand
	$(IN) $(TARGET)/release/deskhand bench --check

fuzz: ## feed every parser with mutated input, FUZZ_SECONDS=60 each
	$(SETUP)
	$(CARGO) build $(FLAGS) --release --bin deskhand-fuzz
	$(IN) $(TARGET)/release/deskhand-fuzz --seconds $(FUZZ_SECONDS)

image: ## the OCI image from this machine's build: dist/deskhand-oci.tar, and what it is made of
	$(SETUP) demo
	$(CARGO) build $(FLAGS) --release --bin deskhand
	$(IN) docker/build.py $(TARGET)/release/deskhand dist/deskhand-oci.tar

packaging: ## check the flake, the NixOS module and the image; needs nix and systemd-analyze
	$(SETUP) demo
	$(CARGO) build $(FLAGS) --bin deskhand
	tests/nix/check.sh $(TARGET)/debug/deskhand
