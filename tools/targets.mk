# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
#
# What people type: tests, checks, benches, installation. The build itself is
# in ../Makefile. A line "target: ## text" shows up in `make help`.

# DEPS=true keeps run and test from installing anything.
DEPS         ?= tools/deps
FUZZ_SECONDS ?= 60
# As many jobs as cores, unless the caller said -j.
SUBMAKE = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
# Debian 12's ThreadSanitizer cannot map its shadow where addresses are very random.
RUN_TESTS = $(if $(findstring thread,$(SAN)),TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp $(shell setarch -R true 2>/dev/null && echo setarch -R)) tests/run --jobs $(JOBS)
# Suites at a time; 0: as many as cores. (Of make test one more.)
JOBS ?= 0

.PHONY: help
help: ## this list
	@echo 'make: builds $B/muster. SAN=address,undefined or SAN=thread: with sanitizers'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1: \2/p' $(MAKEFILE_LIST)

# --- Fuzz targets: fuzz/LAYER_NAME.c sees and links what that layer may use ---
define fuzz_layer
replay_$1 = $$(patsubst fuzz/%.c,$B/replay/%,$$(sort $$(wildcard fuzz/$1_*.c)))
fuzzer_$1 = $$(patsubst $B/replay/%,$B/fuzzer/%,$$(replay_$1))
storm_$1 = $$(patsubst $B/replay/%,$B/storm/%,$$(replay_$1))

$$(replay_$1): $B/replay/%: fuzz/%.c $B/obj/replay.o $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) | $B/see/$1
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS_ALL) -I$B/see/$1 -MMD -MP -o $$@ $$< $B/obj/replay.o -Wl,--start-group $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) -Wl,--end-group $$(LDFLAGS_ALL) $$(LIBS)

$$(storm_$1): $B/storm/%: fuzz/%.c $B/obj/storm.o $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) | $B/see/$1
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS_ALL) -I$B/see/$1 -MMD -MP -o $$@ $$< $B/obj/storm.o -Wl,--start-group $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) -Wl,--end-group $$(LDFLAGS_ALL) $$(LIBS)

# Only made by `make fuzz`, with clang and B=build/fuzz.
$$(fuzzer_$1): $B/fuzzer/%: fuzz/%.c $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) | $B/see/$1
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS_ALL) -fsanitize=fuzzer -I$B/see/$1 -MMD -MP -o $$@ $$< -Wl,--start-group $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) -Wl,--end-group $$(LDFLAGS_ALL) $$(LIBS)
endef
$(foreach l,$(LAYERS),$(eval $(call fuzz_layer,$l)))

REPLAYS = $(foreach l,$(LAYERS),$(replay_$l))
FUZZERS = $(foreach l,$(LAYERS),$(fuzzer_$l))
STORMS  = $(foreach l,$(LAYERS),$(storm_$l))

$B/obj/replay.o $B/obj/storm.o: $B/obj/%.o: fuzz/%.c Makefile
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

-include $(addsuffix .d,$(REPLAYS) $(FUZZERS) $(STORMS))

# --- libmuster: the layers it stands on once more, as position independent code
# that shows muster_* and nothing else.
CLIENT_LAYERS  = base lb http loop client
CLIENT_LIBS    = -luv -lcurl -lcares -lssl -lcrypto -lz -lpthread -lm
CLIENT_SO      = libmuster.so.0
client_objects = $(foreach l,$(CLIENT_LAYERS),$(patsubst src/%.c,$B/pic/%.o,$(src_$l)))

$(client_objects): $B/pic/%.o: src/%.c Makefile VERSION | $(addprefix $B/see/,$(CLIENT_LAYERS))
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -I$B/see/$(firstword $(subst /, ,$*)) -Iinclude -MMD -MP -c -o $@ $<

$B/$(CLIENT_SO): $(client_objects) src/client/muster.map
	$(call quiet,LD)$(CC) -shared -Wl,-soname,$(CLIENT_SO) -Wl,--version-script=src/client/muster.map -Wl,--gc-sections -o $@ $(client_objects) $(LDFLAGS_ALL) $(CLIENT_LIBS)
	@ln -sf $(CLIENT_SO) $B/libmuster.so

# One object, in which all names but muster_* have become local.
$B/libmuster.a: $(client_objects)
	$(call quiet,LD)$(LD) -r -o $B/pic/muster.o $(client_objects)
	@objcopy --wildcard --keep-global-symbol='muster_*' $B/pic/muster.o
	@rm -f $@
	@$(AR) rcs $@ $B/pic/muster.o

MUSTER_PC = sed 's,@PREFIX@,$(PREFIX),; s,@VERSION@,$(VERSION),; s,@LIBS@,$(CLIENT_LIBS),' packaging/muster.pc.in
$B/muster.pc: packaging/muster.pc.in VERSION
	@$(MUSTER_PC) >$@

.PHONY: lib
lib: $B/$(CLIENT_SO) $B/libmuster.a $B/muster.pc ## libmuster: shared, static, pkg-config
	@:

# Programs against the library as its users see it.
CLIENT_PROGRAMS = $B/examples/consumer $B/examples/provider $B/tests/client_driver
$B/examples/consumer: examples/consumer.c
$B/examples/provider: examples/provider.c
$B/tests/client_driver: tests/e2e/client_driver.c
$(CLIENT_PROGRAMS): include/muster.h $B/$(CLIENT_SO)
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) -std=c99 -D_POSIX_C_SOURCE=200809L $(OPT) $(WARN) $(WERROR) $(SANFLAG) -Iinclude -o $@ $(filter %.c,$^) -L$B -Wl,-rpath,'$$ORIGIN/..' $(LDFLAGS_ALL) -lmuster

-include $(client_objects:.o=.d)

# The wires between hosts that are namespaces (tests/net).
WIRE = $B/tests/wire
$(WIRE): $(wildcard tests/net/*.c) $(wildcard tests/net/*.h)
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) -o $@ $(filter %.c,$^) $(LDFLAGS_ALL)

# --- Simulations: tests/sim/NAME_sim.c on the pure layers, on a virtual clock.
# Those layers once more, with what only a simulation pays for: invariant() and
# sometimes() of base/check.h.
SIM_LAYERS = base vivaldi catalog health lb local duty
SIM_FLAGS  = -DSOMETIMES -DINVARIANTS
sim_objects = $(foreach l,$(SIM_LAYERS),$(patsubst src/%.c,$B/simobj/%.o,$(src_$l)))
SIMS = $(patsubst tests/sim/%.c,$B/sim/%,$(sort $(wildcard tests/sim/*_sim.c)))

$(sim_objects): $B/simobj/%.o: src/%.c Makefile | $(addprefix $B/see/,$(SIM_LAYERS))
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) $(SIM_FLAGS) -I$B/see/$(firstword $(subst /, ,$*)) -MMD -MP -c -o $@ $<

$(SIMS): $B/sim/%: tests/sim/%.c $(sim_objects) | $B/see/duty $B/see/lb $B/see/vivaldi
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(CFLAGS_ALL) $(SIM_FLAGS) -I$B/see/duty -I$B/see/lb -I$B/see/vivaldi -Itests -Itests/unit -MMD -MP -o $@ $< $(sim_objects) $(LDFLAGS_ALL) -lcmocka $(LIBS)

-include $(sim_objects:.o=.d) $(addsuffix .d,$(SIMS))

# --- What tests/run is given: each word in quotes is one suite --------------
REPLAY_SUITES = $(foreach r,$(REPLAYS),'$r fuzz/corpus/$(notdir $r)')
USES_SUITE = 'tools/layers uses $B $(foreach l,$(LAYERS),$l=$(subst $() ,$(comma),$(strip $(uses_$l))))'
PURE_SUITE = 'tools/layers pure $B $(PURE)'
# Seeds of each simulation: few in check, the stated number in test.
SIM_SEEDS_FEW = 300
SIM_SEEDS    ?= 10000
SIM_SUITES    = $(foreach s,$(SIMS),'env SIM_SEEDS=$1 $s')
FAST_SUITES = $(UNIT_TESTS) $(REPLAY_SUITES) $(USES_SUITE) $(PURE_SUITE)

UPSTREAM = tests/clients/upstream/suite

# What takes a minute begins first, or all else has ended and one core waits for
# it: those that wait, and between them those that work.
LONG_UNIT   = $(filter $(patsubst %,$B/tests/%_test,store_past store_model store_etcd catalog_model server_mirror_slices server_mirror server_digest),$(UNIT_TESTS))
LONG_SUITES = $(foreach t,wan_net agents,tests/e2e/test_$t.py) $(call SIM_SUITES,$(SIM_SEEDS)) $(foreach t,mirrors etcd cluster,tests/e2e/test_$t.py) $(LONG_UNIT) $(wildcard $(UPSTREAM) tests/torture tests/clients)

# With one thread there is no race to find: of the pure layers ThreadSanitizer gets
# those tests alone that start others.
THREADED   = $(patsubst tests/unit/%.c,$B/tests/%,$(shell grep -l pthread_create tests/unit/*.c))
TSAN_TESTS = $(filter-out $(filter-out $(THREADED),$(foreach l,$(PURE),$(tests_$l))),$(UNIT_TESTS))
RUN_UNIT   = $(if $(findstring thread,$(SAN)),$(TSAN_TESTS),$(UNIT_TESTS))

.PHONY: binaries
binaries: all lib $(CLIENT_PROGRAMS) $(WIRE) $(UNIT_TESTS) $(REPLAYS) $(SIMS) ## build all, tests too, run nothing
	@:

.PHONY: unit
unit: $(RUN_UNIT) ## unit tests; with SAN=thread those that can have races
	@$(RUN_TESTS) $(filter $(LONG_UNIT),$(RUN_UNIT)) $(RUN_UNIT)

.PHONY: fuzz-replay
fuzz-replay: $(REPLAYS) ## feed the kept corpora to the fuzz targets; any compiler
	@$(RUN_TESTS) $(REPLAY_SUITES)

.PHONY: check
check: $(OBJECTS) $(UNIT_TESTS) $(REPLAYS) $(SIMS) ## the fast part: unit, fuzz-replay, layers, pure, few seeds of sim
	@$(RUN_TESTS) $(LONG_UNIT) $(FAST_SUITES) $(call SIM_SUITES,$(SIM_SEEDS_FEW))

.PHONY: sim
sim: $(SIMS) ## simulations on a virtual clock, SIM_SEEDS=10000; SIM_SEED=n SIM_TRACE=1 shows one
	@$(RUN_TESTS) $(call SIM_SUITES,$(SIM_SEEDS))

.PHONY: test
test: ## install what is missing (apt), build, then every test there is
	@$(DEPS) build test
	@$(SUBMAKE) binaries
	@$(SUBMAKE) test-built

# The suites of tests/e2e together work for a fifth of the time that they take.
.PHONY: test-built
test-built: JOBS = $(shell echo $$(($$(nproc) + 1)))
test-built: binaries
	@MUSTER=$(CURDIR)/$B/muster $(RUN_TESTS) $(LONG_SUITES) $(FAST_SUITES) $(wildcard tests/house tests/e2e tests/clients $(UPSTREAM) tests/differential tests/torture)

.PHONY: upstream
upstream: all ## the Go client's own test suite against muster; needs go, openssl
	@MUSTER=$(CURDIR)/$B/muster tests/run --timeout 1500 $(UPSTREAM)

# SEED=n draws the same faults again; FAULTS=kill-leader,compact: those alone.
# LAYOUT=managed: servers with stores of their own, and agents, in namespaces.
SEED   ?= 0
TIME   ?= 10m
FAULTS ?= all
LAYOUT ?= external
.PHONY: torture
torture: all $(WIRE) ## servers under faults that SEED draws, for TIME=10m; LAYOUT=managed: agents too
	@MUSTER=$(CURDIR)/$B/muster tests/torture/run -layout $(LAYOUT) -wire $(WIRE) -seed $(SEED) -time $(TIME) -faults $(FAULTS)

.PHONY: pure
pure: $(OBJECTS) ## no clock, socket, file, thread in the pure layers
	@tools/layers pure $B $(PURE)

.PHONY: lint
lint: ## format, shellcheck, cppcheck, house rules
	@$(DEPS) --check lint
	@tools/lint

TIDY = -*,bugprone-*,clang-analyzer-*,cert-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-cert-dcl37-c,-cert-err33-c,-cert-dcl16-c,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling
.PHONY: tidy
tidy: $(addprefix $B/see/,$(LAYERS)) ## clang-tidy; slow, and for reading, not for passing
	@$(DEPS) --check lint
	@($(foreach l,$(LAYERS),$(if $(src_$l),clang-tidy --quiet '--checks=$(TIDY)' $(src_$l) -- $(CFLAGS_ALL) -I$B/see/$l;))) 2>&1 | grep -v 'warnings generated' || true

.PHONY: shape
shape: ## lengths of functions and files; fails past the limits
	@$(DEPS) --check lint
	@tools/shape

FUZZ_MAKE = $(SUBMAKE) CC=clang SAN=fuzzer-no-link,address,undefined B=build/fuzz
.PHONY: fuzz fuzzers fuzz-merge
fuzz: ## libFuzzer on every target, FUZZ_SECONDS=60 each
	@$(DEPS) --check fuzz
	@$(FUZZ_MAKE) fuzzers
	@tools/fuzz run $(FUZZ_SECONDS) $(patsubst $B/%,build/fuzz/%,$(FUZZERS))

fuzz-merge: ## keep in fuzz/corpus what make fuzz found
	@$(FUZZ_MAKE) fuzzers
	@tools/fuzz merge $(patsubst $B/%,build/fuzz/%,$(FUZZERS))

STORM      ?= dns_packet
STORM_RUNS ?= 10000000
STORM_SEED ?= 1
.PHONY: storm
storm: $B/storm/$(STORM) ## blind mutations of a corpus, fast: STORM=dns_packet STORM_RUNS=n, also with SAN=
	@$B/storm/$(STORM) $(STORM_RUNS) $(STORM_SEED) $(wildcard fuzz/corpus/$(STORM) build/fuzz/found/$(STORM))

fuzzers: $(FUZZERS)
	@:

.PHONY: cover
cover: ## share of lines that the tests run; FILES=--files: per file
	@find build/cover -name '*.gcda' -delete 2>/dev/null || true
	@$(SUBMAKE) CC=gcc B=build/cover OPT='-O0 -g --coverage' LDFLAGS=--coverage test-built
	@tools/cover build/cover $(FILES)

# --- Beyond tests -----------------------------------------------------------
.PHONY: ready
ready: all $B/examples/provider $B/examples/consumer
	@:

.PHONY: run-cluster
run-cluster: ## build, show three servers and two agents here, with things to kill
	@$(DEPS) build
	@$(SUBMAKE) all
	@tools/run-cluster $B/muster

.PHONY: run
run: ## install what is missing (apt), build, show a server with live services
	@$(DEPS) build run
	@$(SUBMAKE) ready
	@MUSTER=$(CURDIR)/$B/muster tools/demo

.PHONY: bench
bench: all ## muster beside Consul and nginx; prints a table
	@$(DEPS) --check build bench
	@MUSTER=$(CURDIR)/$B/muster bench/run

# One layer alone: see the file for how to drive it.
$B/bench/conn: bench/conn.c $(patsubst %,$B/lib/%.a,loop http base) | $B/see/loop
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -I$B/see/loop -o $@ $< -Wl,--start-group $(patsubst %,$B/lib/%.a,loop http base) -Wl,--end-group $(LDFLAGS_ALL) $(LIBS)

$B/bench/store: bench/store.c $(patsubst %,$B/lib/%.a,store loop http base) | $B/see/store
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -I$B/see/store -o $@ $< -Wl,--start-group $(patsubst %,$B/lib/%.a,store loop http base) -Wl,--end-group $(LDFLAGS_ALL) $(LIBS)

$B/bench/catalog: bench/catalog.c $(patsubst %,$B/lib/%.a,catalog base) | $B/see/catalog
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -I$B/see/catalog -o $@ $< -Wl,--start-group $(patsubst %,$B/lib/%.a,catalog base) -Wl,--end-group $(LDFLAGS_ALL) $(LIBS)

$B/bench/lb: bench/lb.c $(patsubst %,$B/lib/%.a,lb base) | $B/see/lb
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -I$B/see/lb -o $@ $< -Wl,--start-group $(patsubst %,$B/lib/%.a,lb base) -Wl,--end-group $(LDFLAGS_ALL) $(LIBS)

# Manual pages and completions are what the binary says of itself.
$B/man/muster.1: $B/muster
	@$< help -man $(@D)

# Those of libmuster are what its header says.
$B/man3/muster.3: tools/man3 include/muster.h VERSION
	@rm -rf $(@D) && mkdir -p $(@D)
	@awk -f $< -v dir=$(@D) -v version=$(VERSION) include/muster.h

$B/completion/%: $B/muster
	@mkdir -p $(@D)
	@$< help -completion $* >$@

.PHONY: pictures
pictures: $B/sim/lb_sim ## draws docs/pictures from the simulation of load balancing
	@tools/lb-pictures $< docs/pictures

.PHONY: docs
docs: $B/man/muster.1 $B/man3/muster.3 $(addprefix $B/completion/,bash zsh fish) ## manual pages and completions of shells, into $B
	@:

SHARE = $(DESTDIR)$(PREFIX)/share
.PHONY: install
install: all lib docs ## under PREFIX=/usr/local, itself under DESTDIR
	install -D -m 755 $B/muster $(DESTDIR)$(PREFIX)/bin/muster
	install -D -m 644 include/muster.h $(DESTDIR)$(PREFIX)/include/muster.h
	install -D -m 755 $B/$(CLIENT_SO) $(DESTDIR)$(PREFIX)/lib/$(CLIENT_SO)
	ln -sf $(CLIENT_SO) $(DESTDIR)$(PREFIX)/lib/libmuster.so
	install -m 644 $B/libmuster.a $(DESTDIR)$(PREFIX)/lib/libmuster.a
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	$(MUSTER_PC) >$(DESTDIR)$(PREFIX)/lib/pkgconfig/muster.pc
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/bin/muster,$(PREFIX)/bin/muster,' packaging/muster.service \
	    >$(DESTDIR)$(PREFIX)/lib/systemd/system/muster.service
	install -D -m 644 packaging/muster.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/muster.conf
	install -d $(SHARE)/man/man1 $(SHARE)/man/man3 $(SHARE)/man/man5
	install -m 644 $B/man/*.1 $(SHARE)/man/man1
	install -m 644 $B/man/*.5 $(SHARE)/man/man5
	install -m 644 $B/man3/*.3 $(SHARE)/man/man3
	install -D -m 644 $B/completion/bash $(SHARE)/bash-completion/completions/muster
	install -D -m 644 $B/completion/zsh $(SHARE)/zsh/site-functions/_muster
	install -D -m 644 $B/completion/fish $(SHARE)/fish/vendor_completions.d/muster.fish

.PHONY: clean
clean: ## remove build/
	rm -rf build
