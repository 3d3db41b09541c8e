/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where everything is in a guest's address spaces: memory, I/O ports and
 * interrupt inputs.  C, assembler and ASL read this file, so it holds nothing
 * but plain numbers.
 */
#pragma once

/* Guest RAM below 1 MiB, as the boot code uses it. */
#define LAYOUT_GDT 0x500
#define LAYOUT_PVH_INFO 0x6000
#define LAYOUT_BOOT_PARAMS 0x7000
#define LAYOUT_PAGE_TABLES 0x9000
#define LAYOUT_CMDLINE 0x20000
#define LAYOUT_CMDLINE_LENGTH 0x10000

/*
 * The ACPI tables, reserved in the e820 map: the RSDP first, where an OS that
 * was not told finds it too.  The region is what the DSDT reads at run time.
 */
#define LAYOUT_ACPI 0xE0000
#define LAYOUT_ACPI_LENGTH 0x20000
#define LAYOUT_ACPI_REGION 0xF0000
#define LAYOUT_ACPI_REGION_LENGTH 0x1000

/* The hole below 4 GiB.  RAM continues above it. */
#define LAYOUT_LOW_RAM_END 0xC0000000
#define LAYOUT_PCI32 0xC0000000
#define LAYOUT_PCI32_LAST 0xDFFFFFFF
#define LAYOUT_PCI32_LENGTH 0x20000000
#define LAYOUT_ECAM 0xE0000000 /* bus 0 */
#define LAYOUT_ECAM_LENGTH 0x100000
#define LAYOUT_VIRTIO_MMIO 0xFEB00000 /* slot s: + s * SLOT_LENGTH */
#define LAYOUT_VIRTIO_MMIO_SLOTS 16
#define LAYOUT_VIRTIO_MMIO_SLOT_LENGTH 0x200
#define LAYOUT_IO_APIC 0xFEC00000
#define LAYOUT_LOCAL_APIC 0xFEE00000
#define LAYOUT_KVM_IDENTITY_MAP 0xFEFFC000 /* 1 page */
#define LAYOUT_KVM_TSS 0xFEFFD000          /* 3 pages */
#define LAYOUT_HIGH_RAM 0x100000000

/* I/O ports. */
#define LAYOUT_PORT_I8042_DATA 0x60
#define LAYOUT_PORT_I8042_COMMAND 0x64
#define LAYOUT_PORT_RTC 0x70
#define LAYOUT_PORT_RTC_LENGTH 2
#define LAYOUT_PORT_DEBUG 0xE9 /* with --boot-report */
#define LAYOUT_PORT_UART 0x3F8
#define LAYOUT_PORT_UART_LENGTH 8
#define LAYOUT_PORT_ACPI_PM 0x600
#define LAYOUT_PORT_ACPI_PM_LENGTH 8
#define LAYOUT_PORT_PCI_CONFIG 0xCF8 /* address, then data at 0xCFC */
#define LAYOUT_PORT_PCI_CONFIG_LENGTH 8
#define LAYOUT_PORT_PCI 0xC000
#define LAYOUT_PORT_PCI_LAST 0xFFFF
#define LAYOUT_PORT_PCI_LENGTH 0x4000

/* Inputs of the I/O APIC. */
#define LAYOUT_GSI_PIT 2
#define LAYOUT_GSI_UART 4
#define LAYOUT_GSI_RTC 8
#define LAYOUT_GSI_SCI 9
/*
 * Pin p (INTA: 0) of PCI slot s is PCI + (s + p) % PCI_COUNT, and that of
 * virtio-mmio slot s is PCI + s % PCI_COUNT.
 */
#define LAYOUT_GSI_PCI 16
#define LAYOUT_GSI_PCI_COUNT 8

#define LAYOUT_CMOS_CENTURY 0x32
#define LAYOUT_SLEEP_TYPE_S5 5

/* A PC's RAM ends here, for what firmware keeps, and goes on at 1 MiB. */
#define LAYOUT_BASE_RAM_END 0x9FC00
#define LAYOUT_EXTENDED_RAM 0x100000
