/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ACPI tables (ACPI 6.5, chapter 5) by which an OS finds its processors,
 * interrupt controllers, PCI host bridge and fixed devices, and can power off,
 * reset and wake: RSDP, XSDT, FADT, FACS, MADT, MCFG, and the DSDT that iasl
 * makes of vmm/x86/dsdt.asl.
 */
#pragma once

#include <stdint.h>

#include "hw/guest_memory.h"

/* Local APIC ids of the MADT's first format; 255 is the broadcast. */
#define ACPI_CPUS_MAX 254

/* A virtio device on the memory-mapped transport. */
struct acpi_virtio {
	uint32_t base; /* of its registers */
	uint32_t gsi;
};

struct acpi_config {
	unsigned cpus;       /* with APIC ids 0 to cpus - 1 */
	uint64_t pci64_base; /* window for 64-bit BARs, in bytes */
	uint64_t pci64_len;  /* 0: none */
	const struct acpi_virtio *virtio; /* virtio_count of them */
	unsigned virtio_count; /* LAYOUT_VIRTIO_MMIO_SLOTS at most */
};

/*
 * Write the tables to guest memory at LAYOUT_ACPI, where the RSDP is, and what
 * the DSDT reads to LAYOUT_ACPI_REGION.  Before the guest runs.  Returns
 * -EINVAL for a number of CPUs or devices that the tables cannot tell or a window
 * that wraps, -EFAULT where there is no RAM, -ENOSPC if the DSDT is too long.
 */
int acpi_write_tables(const struct guest_memory *mem, const struct acpi_config *config);
