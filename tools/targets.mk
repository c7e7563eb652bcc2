# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
#
# What people type: tests, checks, benches, installation. The build itself is
# in ../Makefile.

.PHONY: unit clean
unit: $(UNIT_TESTS)
	@for t in $^; do $$t || exit 1; done

clean:
	rm -rf build
