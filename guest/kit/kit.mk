# SPDX-License-Identifier: BSD-2-Clause
# The guest test kit. Include this from the top Makefile; it wants $(O), the build folder, and builds
# $(O)/guest/kit/kit.elf. KIT_CC picks another compiler than the one for vmm.

KIT_CC ?= $(CC)
KIT_ELF := $(O)/guest/kit/kit.elf
KIT_SRCS := $(sort $(wildcard guest/kit/*.S guest/kit/*.c))
KIT_OBJS := $(KIT_SRCS:%=$(O)/%.o)

# Without SSE (general-regs-only) interrupt handlers have no vector state to save, and the kit runs where
# guest code is emulated by something that knows few vector instructions.
KIT_CFLAGS := -std=gnu17 -O2 -g -I. -MMD -MP \
	-Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wstrict-prototypes -Wvla \
	-ffreestanding -fno-pie -mno-red-zone -mgeneral-regs-only \
	-fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
KIT_LDFLAGS := -nostdlib -static -no-pie -Wl,-T,guest/kit/link.ld \
	-Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,max-page-size=4096

$(O)/guest/kit/%.o: guest/kit/% guest/kit/kit.mk
	@mkdir -p $(@D)
	$(KIT_CC) $(KIT_CFLAGS) -c -o $@ $<

$(KIT_ELF): $(KIT_OBJS) guest/kit/link.ld
	$(KIT_CC) $(KIT_LDFLAGS) -o $@ $(KIT_OBJS)

-include $(KIT_OBJS:.o=.d)
