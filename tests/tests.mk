# SPDX-License-Identifier: BSD-2-Clause
# The tests' part of the Makefile, and the demo.

.PHONY: deps demo check
.PHONY: check-unit check-sanitized check-cli check-direct check-lifecycle check-stock

deps:
	@tests/deps.sh

# Each in a make of its own: what pkg-config says is known only after deps.
demo: deps
	@$(MAKE) --no-print-directory all
	@tests/demo/run.sh $(O)

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
	tests/direct/run.sh --vmm $(O)/vmm --kit $(KIT_ELF)

check-lifecycle: $(O)/vmm $(KIT_ELF)
	tests/direct/lifecycle.sh $(O)/vmm $(KIT_ELF)

check-stock: $(O)/vmm
	tests/stock/run.sh $(O)
