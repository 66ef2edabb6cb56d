# SPDX-License-Identifier: Apache-2.0
# A front for Meson. Every target first sees to the distribution packages it needs.
#     make demo     the main example, from clone to result
#     make test     everything that `meson test` runs
#     make bench    one table: our figure, the peer's, the ratio
#     make bench-coll   the same for collectives, beside MPI and Gloo
#     make bench-model  predictions of collectives beside published measurements
#     make install PREFIX=/usr/local
#     make fuzz     every target for FUZZ_SECONDS (60) with libFuzzer
#     make asan     tests under the address and undefined-behaviour sanitizers
#     make tsan     tests under the thread sanitizer
#     make slow     the tests that take long: a broken build per section of the checklist
#     make coverage     line coverage of every parser, from unit tests and fuzz corpora
#     make conformance   docs/conformance.md from a run of the tests
BUILD        ?= build
PREFIX       ?= /usr/local
FUZZ_SECONDS ?= 60
SETUP         = scripts/setup.sh
SUITES       ?=

all: setup-build
	@scripts/configure.sh $(BUILD)
	meson compile -C $(BUILD)

setup-%:
	@$(SETUP) $*

demo: setup-build
	@scripts/configure.sh build-demo -Dbuildtype=release -Dtests=false -Dfuzzers=off
	meson compile -C build-demo
	examples/digits/demo.sh build-demo

test: setup-test
	@scripts/configure.sh $(BUILD) -Dtests=true
	meson compile -C $(BUILD)
	meson test -C $(BUILD) --no-rebuild --print-errorlogs -t 4 $(SUITES)

bench: setup-bench
	@scripts/configure.sh build-bench -Dbuildtype=release -Dtests=false -Dfuzzers=off -Dbench=true
	meson compile -C build-bench
	bench/run.sh build-bench

bench-coll: setup-bench
	@scripts/configure.sh build-bench -Dbuildtype=release -Dtests=false -Dfuzzers=off -Dbench=true
	meson compile -C build-bench
	bench/run_coll.sh build-bench

bench-model: setup-build
	@scripts/configure.sh $(BUILD)
	meson compile -C $(BUILD) opennrt
	scripts/bench_model.py -v $(BUILD)/tools/opennrt/opennrt

install: setup-build
	@scripts/configure.sh build-install -Dbuildtype=release -Dtests=false -Dfuzzers=off \
	    --prefix=$(PREFIX) --libdir=lib
	meson compile -C build-install
	meson install -C build-install --no-rebuild

asan: setup-test
	@scripts/configure.sh build-asan -Db_sanitize=address,undefined -Db_lundef=false
	meson compile -C build-asan
	scripts/sanitized.sh meson test -C build-asan --no-rebuild --print-errorlogs -t 4 $(SUITES)

tsan: setup-test
	@scripts/configure.sh build-tsan -Db_sanitize=thread -Db_lundef=false
	meson compile -C build-tsan
	scripts/sanitized.sh meson test -C build-tsan --no-rebuild --print-errorlogs -t 8 $(SUITES)

fuzz: setup-fuzz
	@CC=clang scripts/configure.sh build-fuzz -Dfuzzers=libfuzzer -Dtests=false \
	    -Db_sanitize=address,undefined -Db_lundef=false
	meson compile -C build-fuzz
	scripts/fuzz.sh build-fuzz $(FUZZ_SECONDS)

coverage: setup-test
	@CC=gcc scripts/configure.sh build-coverage -Db_coverage=true
	meson compile -C build-coverage
	scripts/coverage.sh build-coverage

conformance: setup-test
	@scripts/configure.sh $(BUILD) -Dtests=true
	meson compile -C $(BUILD)
	scripts/conformance.sh $(BUILD)

slow: setup-test
	@scripts/configure.sh $(BUILD) -Dtests=true
	meson compile -C $(BUILD)
	meson test -C $(BUILD) --no-rebuild --print-errorlogs -t 4 --setup slow --suite slow

clean:
	rm -rf build build-demo build-bench build-install build-asan build-tsan build-fuzz build-coverage

.PHONY: all demo test bench bench-coll bench-model install coverage asan tsan fuzz conformance slow clean
