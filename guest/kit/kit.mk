# SPDX-License-Identifier: BSD-2-Clause
# The guest test kit: $(KIT_ELF) boots by its PVH note. KIT_CC picks another compiler than vmm's.

KIT_CC   ?= $(CC)
KIT_ELF  := $(O)/guest/kit/kit.elf
KIT_SRCS := $(sort $(wildcard guest/kit/*.S guest/kit/*.c))
KIT_OBJS := $(KIT_SRCS:%=$(O)/%.o)

# Without SSE (general-regs-only) interrupt handlers have no vector state to
# save, and the kit runs where guest code is emulated by something that knows
# few vector instructions.
KIT_CFLAGS := -std=gnu17 -O2 -g -I. -MMD -MP \
              -Wall -Wextra $(WERROR) -Wmissing-prototypes -Wshadow -Wstrict-prototypes -Wvla \
              -ffreestanding -fno-pie -mno-red-zone -mgeneral-regs-only \
              -fno-strict-aliasing -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
KIT_LDFLAGS := -nostdlib -static -Wl,-T,guest/kit/link.ld \
               -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096

$(KIT_ELF): $(KIT_OBJS) guest/kit/link.ld
	$(call say,LD)
	$(Q)$(KIT_CC) $(KIT_LDFLAGS) -o $@ $(KIT_OBJS)

$(O)/guest/kit/%.o: guest/kit/% guest/kit/kit.mk
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(KIT_CC) $(KIT_CFLAGS) -c -o $@ $<
