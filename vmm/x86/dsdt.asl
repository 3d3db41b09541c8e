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

DefinitionBlock ("", "DSDT", 2, "VMM", "VMM", 1)
{
	OperationRegion (VMMR, SystemMemory, LAYOUT_ACPI_REGION, LAYOUT_ACPI_REGION_LENGTH)
	Field (VMMR, DWordAcc, NoLock, Preserve)
	{
		P64B, 64, // base of the 64-bit PCI window
		P64L, 64, // its length; 0: none
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
	}
}
