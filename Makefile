# SPDX-License-Identifier: BSD-2-Clause
#
#   make              build vmm into build/ (O=DIR: into DIR)
#   make demo         boot a stock Debian kernel to a shell on a disk
#   make demo-trace   the same guest under fio, and where its requests spend their time
#   make check        every test
#   make conformance  the virtio specification, row by row, and QEMU beside vmm
#   make bench        vmm, QEMU and the host side by side: Documentation/benchmarks.md
#   make bench-requests  the instructions of a request, by callgrind
#   make bench-overhead  what probes, accounting and recording cost
#   make deps         install what all of this needs (Debian, root)
#   make install      into $(DESTDIR)$(PREFIX)
#   make clean
#
# SANITIZE=address,undefined or thread, CC=gcc or clang, CFLAGS=; WERROR= to go
# on after a warning; PROBES=no leaves the probes out and ACCOUNTING=no what disks
# count and time, which shows what they cost; V=1 shows the commands.

O       ?= build
PREFIX  ?= /usr/local
VERSION := 0.1

ifeq ($(origin CC),default)
CC := gcc
endif
PKG_CONFIG ?= pkg-config

CFLAGS   ?= -O2 -g
WERROR   ?= -Werror
WARNINGS := -Wall -Wextra $(WERROR) -Wmissing-prototypes -Wstrict-prototypes -Wshadow \
            -Wpointer-arith -Wundef -Wvla -Wwrite-strings -Wimplicit-fallthrough
CPPFLAGS += -I. -I$(O) -D_GNU_SOURCE -DVMM_VERSION='"$(VERSION)"'
# A tenth of the stripped program would be tables that nothing in it reads:
# debuggers and perf have their own, by -g.
FLAGS     = -std=gnu17 -pthread -fno-asynchronous-unwind-tables $(WARNINGS) $(CFLAGS)
ifeq ($(PROBES),no)
CPPFLAGS += -DVMM_WITHOUT_PROBES
endif
ifeq ($(ACCOUNTING),no)
CPPFLAGS += -DACCOUNTING=0
endif
ifdef SANITIZE
FLAGS   += -fsanitize=$(SANITIZE) -fno-omit-frame-pointer
ifneq ($(filter address%,$(SANITIZE)),)
FLAGS   += -fno-sanitize-recover=all
endif
ifeq ($(SANITIZE)$(findstring gcc,$(CC)),threadgcc)
FLAGS   += -Wno-tsan
endif
endif

URING_CFLAGS := $(shell $(PKG_CONFIG) --cflags liburing 2>/dev/null)
URING_LIBS   := $(shell $(PKG_CONFIG) --libs liburing 2>/dev/null)
CHECK_CFLAGS := $(shell $(PKG_CONFIG) --cflags check 2>/dev/null)
CHECK_LIBS   := $(shell $(PKG_CONFIG) --libs check 2>/dev/null)

# The rooms, in the order in which they may include each other: each links
# against those after it.
ROOMS   := vmm devices virtio hw
ARCH    := x86
vmm_SRC := $(filter-out vmm/main.c,$(wildcard $(foreach d,vmm vmm/trace vmm/$(ARCH),$(d)/*.c $(d)/*.S)))
devices_SRC := $(wildcard devices/*.c)
virtio_SRC  := $(wildcard virtio/*.c)
hw_SRC      := $(wildcard hw/*.c hw/base/*.c)

# make V=1 shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-4s %s\n' $(1) $@)

OBJ     := $(O)/obj
objects  = $(addprefix $(OBJ)/,$(addsuffix .o,$(basename $(1))))
LIBS    := $(ROOMS:%=$(OBJ)/lib%.a)
MAIN    := $(call objects,vmm/main.c)
UNIT    := $(patsubst %.c,$(O)/%,$(wildcard tests/unit/test_*.c))
UNIT_KIT := $(call objects,$(filter-out $(wildcard tests/unit/test_*.c),$(wildcard tests/unit/*.c)))

.PHONY: all
all: $(O)/vmm $(O)/guest/kit/kit.elf

ifeq ($(URING_LIBS),)
$(O)/vmm: no-liburing
.PHONY: no-liburing
no-liburing:
	@echo "liburing is missing; 'make deps' installs what this needs" >&2; exit 1
endif

include guest/init/init.mk guest/kit/kit.mk tests/tests.mk

$(O)/vmm: $(MAIN) $(LIBS)
	$(call say,LD)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $(MAIN) $(LIBS) $(URING_LIBS)

define room_rule
$(OBJ)/lib$(1).a: $(call objects,$($(1)_SRC))
	@rm -f $$@
	$(Q)$(AR) rcs $$@ $$^
endef
$(foreach room,$(ROOMS),$(eval $(call room_rule,$(room))))

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CPPFLAGS) $(URING_CFLAGS) $(FLAGS) -MMD -MP -c -o $@ $<

$(OBJ)/%.o: %.S
	@mkdir -p $(@D)
	$(call say,AS)
	$(Q)$(CC) $(CPPFLAGS) -Wa,-I$(O),-I$(OBJ) -MMD -MP -c -o $@ $<

# Other flags make other objects.
FLAGS_NOW := $(CC) $(FLAGS) $(PROBES) $(ACCOUNTING)
ifneq ($(FLAGS_NOW),$(shell cat $(OBJ)/flags 2>/dev/null))
$(shell mkdir -p $(OBJ) && echo '$(FLAGS_NOW)' > $(OBJ)/flags)
endif
$(MAIN) $(foreach room,$(ROOMS),$(call objects,$($(room)_SRC))) $(UNIT_KIT): $(OBJ)/flags

# What serves no request: the trace reads recordings, never disks.
$(OBJ)/vmm/trace/%.o: FLAGS += -Os
$(addprefix $(OBJ)/vmm/,disk_spec.o machine.o options.o stats.o): FLAGS += -Os

# What the binary carries: the init of guests without an initrd, and the DSDT.
$(OBJ)/vmm/guest_init.o: $(O)/guest/init/init
$(OBJ)/vmm/$(ARCH)/dsdt.o: $(OBJ)/vmm/$(ARCH)/dsdt.aml

# ASL goes through the C preprocessor: iasl's own knows no macros.
$(OBJ)/%.aml: %.asl vmm/$(ARCH)/layout.h
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P -undef -x assembler-with-cpp -I. -o $(@:.aml=.i.asl) $<
	$(Q)iasl -we -p $(@:.aml=) $(@:.aml=.i.asl) > $@.log 2>&1 || { cat $@.log; rm -f $@; exit 1; }

$(O)/tests/unit/%: $(OBJ)/tests/unit/%.o $(UNIT_KIT) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(UNIT_KIT) $(LIBS) $(URING_LIBS) $(CHECK_LIBS)
$(OBJ)/tests/unit/%.o: CPPFLAGS += $(CHECK_CFLAGS)
.SECONDARY:

.PHONY: install
install: $(O)/vmm
	install -D -m 755 $(O)/vmm $(DESTDIR)$(PREFIX)/bin/vmm
	install -D -m 644 Documentation/vmm.1 $(DESTDIR)$(PREFIX)/share/man/man1/vmm.1

.PHONY: clean
clean:
	rm -rf $(O)

-include $(shell find $(OBJ) $(O)/guest -type f -name '*.d' 2>/dev/null)
