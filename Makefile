# What there is to run. Each target gets what it lacks, as root on a Debian, or says what to
# install. What is longer than a few lines is a script in dist/build.

# In quotes wherever it is used: the path to a checkout may hold spaces.
target := $(shell realpath -m "$(or $(CARGO_TARGET_DIR),target)")
arch := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,amd64)
agent := $(target)/dist/vmkit-agent-linux-$(arch)
gateway := $(target)/debug/examples/gateway
need := @dist/build/need cargo:cargo-web cc:gcc

.PHONY: help demo test dist release bench lint fuzz clean agent gateway cargo-test
# cargo uses all processors by itself.
.NOTPARALLEL:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

# Where there is no docker the demo does without containers, and says so.
demo: agent gateway ## a real agent on the reference gateway, live; DEMO_SECONDS=20 ends it
	@! command -v docker >/dev/null || dist/build/need busybox:busybox-static || :
	cargo build --locked --example demo
	@AGENT="$(agent)" GATEWAY="$(gateway)" "$(target)/debug/examples/demo"

test: export DEMO_SECONDS = 20
test: lint dist cargo-test demo ## everything, as CI does

# RELEASE_PUBKEY=RW... is the minisign key that these agents want upgrades to be signed with.
dist: gateway ## the release files, in target/dist; TOOLCHAIN=rustup or debian chooses the compiler
	@rm -f "$(target)"/dist/*.minisig
	dist/build/agent amd64 arm64
	@dist/build/prove "$(gateway)" "$(target)"/dist/vmkit-agent-linux-a*
	@dist/build/installer "$(target)/dist/install.sh"
	@cp dist/vmkit-agent.8 "$(target)/dist/"
	@dist/build/sums "$(target)/dist"

release: ## signs what dist has built; KEY=<minisign's secret key file>
	@dist/build/release "$(target)/dist" "$(KEY)" "$(REPLACES)" "$(SUMS_KEY)"

bench: agent ## the measured numbers, as a table
	$(need) docker:docker.io busybox:busybox-static curl:curl
	@AGENT="$(agent)" cargo run --quiet --locked --profile bench --example bench

lint: ## formatting, clippy, shellcheck, the dependencies' licences and bans
	$(need) cargo-clippy:rust-web-clippy cargo-fmt:rustfmt-web shellcheck:shellcheck
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	shellcheck $$(grep --recursive --files-with-matches -E '^#!/bin/(ba)?sh' .ci dist tests)
	dist/build/deny

fuzz: ## the property tests, many times over
	$(need)
	PROPTEST_CASES=20000 cargo test --locked --bin vmkit-agent

clean: ## removes all that was built
	cargo clean

agent:
	$(need)
	dist/build/agent $(arch)

gateway:
	$(need)
	cargo build --locked --example gateway

# Against the agent that ships. The debug build, which checks for overflow, has the unit tests.
# Most of these tests wait for something, so there is room for more of them than processors.
cargo-test: export RUST_TEST_THREADS = 8
cargo-test: agent gateway
	$(need) docker:docker.io busybox:busybox-static dash:dash curl:curl wget:wget \
		shellcheck:shellcheck man:man-db mandoc:mandoc systemd-analyze:systemd \
		setpriv:util-linux minisign:minisign ip:iproute2 logger:bsdutils
	VMKIT_AGENT_BIN="$(agent)" cargo test --locked --no-fail-fast
