# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
#
# One file, no recursion, no configure step. `make help` lists the targets.

# --- The architecture: a layer sees itself and the layers named here, and
# nothing else compiles. Keep it acyclic and keep it short. ------------------
uses_base    =
uses_config  = base
uses_catalog = base
uses_health  = base
uses_lb      = base
uses_http    = base
uses_ui      = base
uses_local   = base catalog health
uses_query   = base catalog
uses_mirror  = base catalog http
uses_vivaldi = base
uses_wan     = base
uses_api     = base catalog health local query wan http ui
uses_dns     = base catalog query
uses_duty    = base catalog health local
uses_loop    = base http
uses_client  = base lb http loop
uses_store   = base http loop
uses_probe   = base health http loop
uses_cluster = base catalog health local http duty loop
uses_agent   = base catalog health local http loop store
uses_dnsd    = base catalog query dns http loop
uses_cli     = base config lb http loop client
uses_server  = base vivaldi wan config catalog health http local mirror ui duty query api dns loop store probe agent dnsd cluster cli

# Who sees the public header, include/muster.h.
include_client = -Iinclude
include_cli    = -Iinclude

LAYERS = base vivaldi wan config catalog health lb http local mirror ui duty query api dns loop client store probe agent dnsd cluster cli server
PURE   = base vivaldi wan config catalog health lb http local mirror ui duty query api dns

# --- Settings ---------------------------------------------------------------
CC      ?= gcc
SAN     ?=
PREFIX  ?= /usr/local
DESTDIR ?=
OPT     ?= -O2 -g
V       ?=
comma   := ,
B       ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))
WERROR  ?=

VERSION := $(shell cat VERSION)
LIBS    = -luv -lhttp_parser -ljansson -lsqlite3 -lcurl -lnghttp2 -lcares -lsystemd -lssl -lcrypto -lz -lxxhash -lpcre2-8 -lpthread -lm
WARN    = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Wno-missing-field-initializers
SANFLAG = $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
CFLAGS_ALL = -std=c17 -D_GNU_SOURCE -DMUSTER_VERSION='"$(VERSION)"' $(OPT) $(WARN) $(WERROR) $(SANFLAG) -fno-common -fstack-protector-strong $(CFLAGS)
LDFLAGS_ALL = $(SANFLAG) -Wl,--as-needed $(LDFLAGS)

# Commands are shown with V=1; else one short line each.
quiet = $(if $V,,@echo '  $1 $@';)

.DEFAULT_GOAL := all
.PHONY: all
all: $B/muster

# --- Layers -----------------------------------------------------------------
# A folder of links to what layer $1 may include; -I points there and nowhere else.
define layer
src_$1 = $$(sort $$(wildcard src/$1/*.c))
obj_$1 = $$(patsubst src/%.c,$B/obj/%.o,$$(src_$1))
# A unit test of layer $1 (tests/unit/$1_*.c) links layer $1 and what it may use.
tests_$1 = $$(patsubst tests/unit/%.c,$B/tests/%,$$(sort $$(wildcard tests/unit/$1_*.c)))

$B/see/$1: Makefile
	@rm -rf $$@ && mkdir -p $$@ && for d in $1 $$(uses_$1); do ln -sfn $(CURDIR)/src/$$$$d $$@/$$$$d; done

$$(obj_$1): $B/obj/$1/%.o: src/$1/%.c Makefile VERSION | $B/see/$1
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS_ALL) -I$B/see/$1 $$(include_$1) -MMD -MP -c -o $$@ $$<

$B/lib/$1.a: $$(obj_$1)
	@mkdir -p $$(@D)
	@rm -f $$@
	@$$(AR) rcs $$@ $$^

$$(tests_$1): $B/tests/%: tests/unit/%.c $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) | $B/see/$1
	@mkdir -p $$(@D)
	$$(call quiet,CC)$$(CC) $$(CFLAGS_ALL) -I$B/see/$1 $$(include_$1) -Itests -MMD -MP -o $$@ $$< -Wl,--start-group $$(patsubst %,$B/lib/%.a,$1 $$(uses_$1)) -Wl,--end-group $$(LDFLAGS_ALL) -lcmocka $$(LIBS)
endef
$(foreach l,$(LAYERS),$(eval $(call layer,$l)))

# ui.c takes these in (.incbin).
$B/obj/ui/ui.o: $(wildcard src/ui/*.html src/ui/*.css src/ui/*.js src/ui/*.svg)

OBJECTS    = $(foreach l,$(LAYERS),$(obj_$l))
UNIT_TESTS = $(foreach l,$(LAYERS),$(tests_$l))

$B/muster: $(OBJECTS)
	$(call quiet,LD)$(CC) -o $@ $(OBJECTS) $(LDFLAGS_ALL) $(LIBS)

-include $(OBJECTS:.o=.d) $(addsuffix .d,$(UNIT_TESTS))

include tools/targets.mk
