# SPDX-License-Identifier: BSD-2-Clause
# The tests' part of the Makefile.

.PHONY: check check-unit
check: check-unit

check-unit: $(UNIT)
	tests/unit/run.sh $(UNIT)
