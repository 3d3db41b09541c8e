// SPDX-License-Identifier: BSD-2-Clause
//
// The devices that an OS cannot find by asking PCI.  The same for every
// machine: what differs it reads at run time from a region in guest memory,
// struct acpi_region in vmm/x86/acpi.c.  Goes through the C preprocessor.

#include "vmm/x86/layout.h"

// Routing: hard-wired, so that there are no link devices to program.
#define PIN(slot, pin)                                                       \
	Package () { (slot << 16) | 0xFFFF, pin, 0,                          \
		     LAYOUT_GSI_PCI + ((slot + pin) % LAYOUT_GSI_PCI_COUNT) }
#define SLOT(slot) PIN (slot, 0), PIN (slot, 1), PIN (slot, 2), PIN (slot, 3)
#define FOUR_SLOTS(slot) \
	SLOT ((slot)), SLOT ((slot + 1)), SLOT ((slot + 2)), SLOT ((slot + 3))

// A virtio device in memory: slot s, a hexadecimal digit.
#define VIRTIO_FIELDS(s) VB##s##_, 32, VG##s##_, 32
#define VIRTIO_SLOT(s)                                                       \
	Device (VIO##s)                                                      \
	{                                                                    \
		Name (_HID, "LNRO0005")                                      \
		Name (_UID, 0x##s)                                           \
		Method (_STA) { Return (VSTA (VB##s##_)) }                   \
		Method (_CRS) { Return (VCRS (VB##s##_, VG##s##_)) }         \
	}

DefinitionBlock ("", "DSDT", 2, "VMM", "VMM", 1)
{
	OperationRegion (VMMR, SystemMemory, LAYOUT_ACPI_REGION, LAYOUT_ACPI_REGION_LENGTH)
	Field (VMMR, DWordAcc, NoLock, Preserve)
	{
		P64B, 64, // base of the 64-bit PCI window
		P64L, 64, // its length; 0: none
		// of each virtio slot: the registers' base, 0 if it is empty; its GSI
		VIRTIO_FIELDS (0), VIRTIO_FIELDS (1), VIRTIO_FIELDS (2), VIRTIO_FIELDS (3),
		VIRTIO_FIELDS (4), VIRTIO_FIELDS (5), VIRTIO_FIELDS (6), VIRTIO_FIELDS (7),
		VIRTIO_FIELDS (8), VIRTIO_FIELDS (9), VIRTIO_FIELDS (A), VIRTIO_FIELDS (B),
		VIRTIO_FIELDS (C), VIRTIO_FIELDS (D), VIRTIO_FIELDS (E), VIRTIO_FIELDS (F),
	}

	Name (\_S5, Package () { LAYOUT_SLEEP_TYPE_S5, LAYOUT_SLEEP_TYPE_S5, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08")) // PCI Express
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)

			Name (CRS0, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, LAYOUT_PORT_PCI_CONFIG, LAYOUT_PORT_PCI_CONFIG,
					1, LAYOUT_PORT_PCI_CONFIG_LENGTH)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					EntireRange,
					0, LAYOUT_PORT_PCI, LAYOUT_PORT_PCI_LAST,
					0, LAYOUT_PORT_PCI_LENGTH)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite,
					0, LAYOUT_PCI32, LAYOUT_PCI32_LAST,
					0, LAYOUT_PCI32_LENGTH)
			})
			Name (CRS1, ResourceTemplate ()
			{
				QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite,
					0, 0, 0, 0, 1, , , W64)
			})
			Method (_CRS, 0, Serialized)
			{
				If (P64L == 0)
				{
					Return (CRS0)
				}
				CreateQWordField (CRS1, \_SB.PCI0.W64._MIN, WMIN)
				CreateQWordField (CRS1, \_SB.PCI0.W64._MAX, WMAX)
				CreateQWordField (CRS1, \_SB.PCI0.W64._LEN, WLEN)
				WMIN = P64B
				WMAX = P64B + P64L - 1
				WLEN = P64L
				Return (ConcatenateResTemplate (CRS0, CRS1))
			}

			Name (_PRT, Package ()
			{
				FOUR_SLOTS (0), FOUR_SLOTS (4), FOUR_SLOTS (8), FOUR_SLOTS (12),
				FOUR_SLOTS (16), FOUR_SLOTS (20), FOUR_SLOTS (24), FOUR_SLOTS (28)
			})

			// No firmware runs that would want a feature for itself: the OS
			// gets all that it asks for.
			Method (_OSC, 4)
			{
				CreateDWordField (Arg3, 0, STAT)
				If (Arg0 != ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
				{
					STAT |= 0x04 // unknown UUID
				}
				ElseIf (Arg1 != 1)
				{
					STAT |= 0x08 // unknown revision
				}
				Return (Arg3)
			}
		}

		Device (BRD0) // taken by the board
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, LAYOUT_ECAM, LAYOUT_ECAM_LENGTH)
				IO (Decode16, LAYOUT_PORT_ACPI_PM, LAYOUT_PORT_ACPI_PM,
					1, LAYOUT_PORT_ACPI_PM_LENGTH)
			})
		}

		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_RTC, LAYOUT_PORT_RTC,
					1, LAYOUT_PORT_RTC_LENGTH)
				IRQNoFlags () { LAYOUT_GSI_RTC }
			})
		}

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, LAYOUT_PORT_UART, LAYOUT_PORT_UART,
					1, LAYOUT_PORT_UART_LENGTH)
				IRQNoFlags () { LAYOUT_GSI_UART }
			})
		}

		Method (VSTA, 1) // base
		{
			If (Arg0 == 0)
			{
				Return (0)
			}
			Return (0x0F) // present, enabled, shown, working
		}

		// The lines are those of PCI's INTx, and look alike: level, active low.
		Method (VCRS, 2, Serialized) // base, GSI
		{
			Name (CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadWrite, 0, LAYOUT_VIRTIO_MMIO_SLOT_LENGTH, REGS)
				Interrupt (ResourceConsumer, Level, ActiveLow, Shared, , , LINE) { 0 }
			})
			CreateDWordField (CRS, REGS._BAS, BASE)
			CreateDWordField (CRS, LINE._INT, GSI)
			BASE = Arg0
			GSI = Arg1
			Return (CRS)
		}

		VIRTIO_SLOT (0)
		VIRTIO_SLOT (1)
		VIRTIO_SLOT (2)
		VIRTIO_SLOT (3)
		VIRTIO_SLOT (4)
		VIRTIO_SLOT (5)
		VIRTIO_SLOT (6)
		VIRTIO_SLOT (7)
		VIRTIO_SLOT (8)
		VIRTIO_SLOT (9)
		VIRTIO_SLOT (A)
		VIRTIO_SLOT (B)
		VIRTIO_SLOT (C)
		VIRTIO_SLOT (D)
		VIRTIO_SLOT (E)
		VIRTIO_SLOT (F)
	}
}
