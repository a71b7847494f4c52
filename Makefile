# The commands of this project. On Debian as root, each target installs missing build tools with apt; on
# other systems it prints what you must install. Longer commands are scripts in dist/build.

# Quoted at every use: the path of a checkout may hold spaces.
target := $(shell realpath -m "$(or $(CARGO_TARGET_DIR),target)")
arch := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
agent := $(target)/dist/vmkit-agent-linux-$(arch)
gateway := $(target)/debug/gateway
# Cargo builds the profile bench there.
fast_gateway := $(target)/release/gateway
archs := amd64 arm64 armv7 riscv64
gateway_build := --package vmkit-gateway
demo_build := --example demo
need := @dist/build/need cargo:cargo-web cc:gcc

.PHONY: help demo test dist release bench screenshots sabotage lint fuzz clean agent gateway cargo-test
# One target at a time: cargo uses all processors itself.
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

# Without docker the demo starts no containers, and says so.
demo: agent gateway ## a real agent on the reference gateway, live; DEMO_SECONDS=20 ends it
	@! command -v docker >/dev/null || dist/build/need busybox:busybox-static || :
	cargo build --locked $(demo_build)
	@AGENT="$(agent)" GATEWAY="$(gateway)" "$(target)/debug/examples/demo"

test: export DEMO_SECONDS = 20
# One foreign architecture stands for all: each takes more than a minute. `make dist` builds all four.
test: archs = amd64 arm64
# With the features that the tests need too, or cargo would build the dependencies twice.
test: gateway_build = --workspace --bin gateway --example demo
test: demo_build = --workspace --example demo
test: lint dist cargo-test demo ## all tests, as CI runs them

# RELEASE_PUBKEY=RW... compiles a minisign key in: these agents refuse upgrades not signed with it.
dist: gateway ## the release files, in target/dist; TOOLCHAIN=rustup or debian chooses the compiler
	@rm -f "$(target)"/dist/*.minisig
	dist/build/agent $(archs)
	@dist/build/prove "$(gateway)" "$(target)"/dist/vmkit-agent-linux-*
	@dist/build/installer "$(target)/dist/install.sh"
	@cp dist/vmkit-agent.8 "$(target)/dist/"
	@dist/build/sums "$(target)/dist"

release: ## signs what make dist built; KEY=<minisign's secret key file>
	@dist/build/release "$(target)/dist" "$(KEY)" "$(REPLACES)" "$(SUMS_KEY)"

bench: agent ## the figures of README.md, measured, as a table
	$(need) docker:docker.io busybox:busybox-static curl:curl
	cargo build --locked --profile bench --package vmkit-gateway
	@AGENT="$(agent)" GATEWAY="$(fast_gateway)" cargo run --quiet --locked --profile bench --example bench

# The README shows the two in dist/pictures, which are in the repository.
screenshots: ## pictures of the gateway's page, in target/pictures
	$(need) setpriv:util-linux chromium:chromium chromedriver:chromium-driver
	cargo build --locked --package vmkit-gateway --example fleet
	VMKIT_PICTURES="$(target)/pictures" VMKIT_FLEET="$(target)/debug/examples/fleet" \
		cargo test --locked --package vmkit-gateway --test browser -- --ignored pictures

lint: ## formatting, clippy, shellcheck, the dependencies' licences and bans
	$(need) cargo-clippy:rust-web-clippy cargo-fmt:rustfmt-web shellcheck:shellcheck
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	shellcheck $$(grep --recursive --files-with-matches -E '^#!/bin/(ba)?sh' .ci dist tests)
	dist/build/deny

sabotage: export VMKIT_SABOTAGE = each
sabotage: agent ## gateway check against each break of the agent in Python: four minutes
	$(need) setpriv:util-linux minisign:minisign
	VMKIT_AGENT_BIN="$(agent)" cargo test --locked --package vmkit-gateway --test conformance matrix

fuzz: ## the property tests with many more cases (20,000)
	$(need)
	PROPTEST_CASES=20000 cargo test --locked --bin vmkit-agent

clean: ## removes what was built
	cargo clean

agent:
	$(need)
	dist/build/agent $(arch)

gateway:
	$(need)
	cargo build --locked $(gateway_build)

# The integration tests run the release agent; the unit tests run in the debug build, which checks for
# overflow. Most tests wait, so more of them run at a time than there are processors.
cargo-test: export RUST_TEST_THREADS = 8
cargo-test: agent gateway
	$(need) docker:docker.io busybox:busybox-static dash:dash curl:curl wget:wget \
		shellcheck:shellcheck man:man-db mandoc:mandoc systemd-analyze:systemd \
		setpriv:util-linux minisign:minisign openssl:openssl ip:iproute2 logger:bsdutils \
		venv:python3-venv mkfs.ext4:e2fsprogs tinyproxy:tinyproxy-bin chromium:chromium \
		chromedriver:chromium-driver
	VMKIT_AGENT_BIN="$(agent)" cargo test --locked --workspace --no-fail-fast
