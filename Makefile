# qrng: `make help` lists what can be made.

CARGO ?= cargo
ARGS  ?=

.DEFAULT_GOAL := help
.PHONY: help build demo test vm-test bench pages packages clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

build: ## build everything with optimisation, into target/release
	@sh scripts/need.sh cc
	$(CARGO) build --release --workspace

demo: ## run both daemons here on simulated noise; ARGS="--seconds 10" and so on
	@sh scripts/need.sh cc fusermount3
	$(CARGO) build --release --workspace
	@exec "$$($(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/qrng" demo $(ARGS)

test: ## check format, lints, dependencies and shell files, then run every test
	@bash tests/run.sh

vm-test: ## only the tests of the drivers on a real kernel, in guests under QEMU; ARGS="usb" for those with this name
	@sh scripts/need.sh cc fusermount3
	$(CARGO) build --workspace
	$(CARGO) test --package qrng-tests --test 'vm_*' -- --nocapture $(ARGS)

bench: ## measure everything beside /dev/urandom and stock fuser; ARGS="--rounds 5 --out FILE"
	@sh scripts/need.sh cc fusermount3 python3
	@bash bench/run.sh $(ARGS)

pages: ## write the manual pages and completions anew from what the programs say of themselves
	$(CARGO) run --quiet --package qrng-pages -- packaging

packages: ## build the Debian packages, into target/debian
	@sh scripts/need.sh cc
	$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deb
	$(CARGO) build --release --workspace
	@sh scripts/packages.sh release target/debian "$$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)"

clean: ## remove what was built
	$(CARGO) clean
