# SPDX-License-Identifier: BSD-2-Clause
# The programs that measure how a VM starts, for tests/bench/start.sh.

BENCH_START := $(addprefix $(O)/bench/,until bare first.elf)

# Static: what it takes to load a C library is not what they measure.
$(O)/bench/until $(O)/bench/bare: $(O)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CPPFLAGS) $(FLAGS) -static -o $@ $<

$(O)/bench/first.elf: tests/bench/first.S guest/kit/link.ld
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(KIT_CC) $(KIT_LDFLAGS) -o $@ $<
