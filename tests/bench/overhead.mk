# SPDX-License-Identifier: BSD-2-Clause
# make bench-overhead: what it costs to look on (tests/bench/overhead.sh).

BENCH_WITHOUT := $(MAKE) --no-print-directory PROBES=no
bench_built    = $(addprefix $(1)/,vmm bench/requests)

.PHONY: bench-overhead
bench-overhead: deps
	@tests/deps.sh bench
	@$(MAKE) --no-print-directory all $(BENCH_REQUESTS)
	@$(BENCH_WITHOUT) O=$(O)/overhead/accounting $(call bench_built,$(O)/overhead/accounting)
	@$(BENCH_WITHOUT) O=$(O)/overhead/off ACCOUNTING=no $(call bench_built,$(O)/overhead/off)
	@tests/bench/overhead.sh $(O)
