# SPDX-License-Identifier: BSD-2-Clause
# The tests' part of the Makefile, and the demo.

.PHONY: deps demo demo-trace check conformance
.PHONY: check-unit check-sanitized check-cli check-direct check-lifecycle check-hangs check-load
.PHONY: check-stats check-probes check-trace
.PHONY: check-stock check-bench check-conformance bench

# What a tier prints is kept for the table of requirements.
KEEP := tests/conformance/keep.sh $(O)/results

deps:
	@tests/deps.sh

# Each in a make of its own: what pkg-config says is known only after deps.
demo: deps
	@$(MAKE) --no-print-directory all
	@tests/demo/run.sh $(O)

demo-trace: deps
	@$(MAKE) --no-print-directory all
	@tests/demo/trace.sh $(O)

check: deps
	@$(MAKE) --no-print-directory all
	@tests/check.sh $(O)

check-unit: $(UNIT)
	@tests/unit/run.sh $(UNIT)

# The unit tests once more, under the address and undefined behaviour sanitizers.
check-sanitized:
	@$(MAKE) --no-print-directory O=$(O)/sanitized SANITIZE=address,undefined check-unit

check-cli: $(O)/vmm
	tests/cli/run.sh $(O)/vmm

check-direct: $(O)/vmm $(KIT_ELF)
	@$(KEEP)/kit-vmm.tap tests/direct/run.sh --vmm $(O)/vmm --kit $(KIT_ELF)

check-lifecycle: $(O)/vmm $(KIT_ELF)
	tests/direct/lifecycle.sh $(O)/vmm $(KIT_ELF)

check-hangs: $(O)/vmm $(KIT_ELF)
	tests/direct/hangs.sh $(O)/vmm $(KIT_ELF)

check-load: $(O)/vmm $(KIT_ELF)
	tests/direct/load.sh $(O)/vmm $(KIT_ELF)

check-stats: $(O)/vmm $(KIT_ELF)
	tests/direct/stats.sh $(O)/vmm $(KIT_ELF)

check-probes: $(O)/vmm $(KIT_ELF)
	tests/direct/probes.sh $(O)/vmm $(KIT_ELF)

check-trace: $(O)/vmm $(KIT_ELF)
	tests/direct/trace.sh $(O)/vmm $(KIT_ELF)

check-stock: $(O)/vmm
	@$(KEEP)/stock.tap tests/stock/run.sh $(O)

# After the other tiers: is the table of requirements complete, and what they say?
check-conformance:
	@tests/conformance/table.pl $(O) --check

# What judges the benches' figures, on figures whose verdicts are known.
check-bench:
	@tests/bench/check.sh

conformance: deps
	@$(MAKE) --no-print-directory all
	@tests/conformance/run.sh $(O)

bench: deps
	@tests/deps.sh bench
	@$(MAKE) --no-print-directory all $(BENCH_START)
	@tests/bench/run.sh $(O)

include $(wildcard tests/bench/*.mk)
