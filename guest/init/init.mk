# SPDX-License-Identifier: BSD-2-Clause
# The init of guests without an initrd.  Include this from the top Makefile; it
# wants $(O), the build folder, and builds $(O)/guest/init/init.
#
# musl rather than a system call layer of our own: its start code, opendir() and
# strerror() are what we would write, and it knows arm64. INIT_CC picks another
# compiler wrapper.

INIT_CC   ?= musl-gcc
INIT_SRCS := $(wildcard guest/init/*.c)

# The kernel's own headers, for netlink, are not musl's: look for them last.
INIT_ARCH   = $(shell $(INIT_CC) -print-multiarch)
INIT_CFLAGS = -std=gnu17 -Os -D_GNU_SOURCE -I. \
	-idirafter /usr/include -idirafter /usr/include/$(INIT_ARCH) \
	-Wall -Wextra $(WERROR) -Wmissing-prototypes -Wshadow -Wstrict-prototypes -Wvla \
	-fno-asynchronous-unwind-tables -fno-stack-protector \
	-ffunction-sections -fdata-sections
INIT_LDFLAGS := -static -no-pie -s -Wl,--gc-sections -Wl,--build-id=none \
	-Wl,-z,noseparate-code

$(O)/guest/init/init: $(INIT_SRCS) guest/init/init.h guest/init/init.mk
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(INIT_CC) $(INIT_CFLAGS) $(INIT_LDFLAGS) -o $@ $(INIT_SRCS)
