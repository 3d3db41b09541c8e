// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/msix.h"

#include "guest/kit/irq.h"
#include "guest/kit/x86.h"

bool msix_init(struct msix *msix, struct pci_function *pci)
{
	uint32_t table, pba;

	msix->pci = pci;
	msix->at = pci_capability(pci, PCI_CAP_MSIX, 0);
	if (!msix->at)
		return false;
	table = pci_read32(pci, msix->at + MSIX_TABLE);
	pba = pci_read32(pci, msix->at + MSIX_PBA);
	msix->count = (pci_read16(pci, msix->at + MSIX_CONTROL) & MSIX_CONTROL_SIZE_MASK) + 1u;
	msix->table_bar = table & MSIX_BAR_MASK;
	msix->table_offset = table & ~(uint32_t)MSIX_BAR_MASK;
	msix->pba_bar = pba & MSIX_BAR_MASK;
	msix->pba_offset = pba & ~(uint32_t)MSIX_BAR_MASK;
	return msix->table_bar < PCI_BAR_COUNT && msix->pba_bar < PCI_BAR_COUNT;
}

uintptr_t msix_entry(const struct msix *msix, unsigned index)
{
	return msix->pci->bars[msix->table_bar].base + msix->table_offset + index * MSIX_ENTRY_SIZE;
}

uintptr_t msix_pba_word(const struct msix *msix, unsigned index)
{
	return msix->pci->bars[msix->pba_bar].base + msix->pba_offset + index / 64 * 8;
}

/* Reading back pushes the posted write to the device. */
void msix_mask(const struct msix *msix, unsigned index, bool masked)
{
	uintptr_t control = msix_entry(msix, index) + MSIX_ENTRY_CONTROL;

	mmio_write32(control, masked ? MSIX_ENTRY_MASKED : 0);
	(void)mmio_read32(control);
}

void msix_route(const struct msix *msix, unsigned index, unsigned vector)
{
	uintptr_t entry = msix_entry(msix, index);

	mmio_write32(entry + MSIX_ENTRY_ADDRESS, irq_msi_address());
	mmio_write32(entry + MSIX_ENTRY_ADDRESS + 4, 0);
	mmio_write32(entry + MSIX_ENTRY_DATA, vector);
	msix_mask(msix, index, false);
}

static void control_write(const struct msix *msix, uint16_t set, uint16_t clear)
{
	uint16_t control = pci_read16(msix->pci, msix->at + MSIX_CONTROL);

	pci_write16(msix->pci, msix->at + MSIX_CONTROL, (control & ~clear) | set);
}

void msix_function_mask(const struct msix *msix, bool masked)
{
	control_write(msix, masked ? MSIX_CONTROL_FUNCTION_MASK : 0, MSIX_CONTROL_FUNCTION_MASK);
}

void msix_enable(const struct msix *msix, bool enabled)
{
	control_write(msix, enabled ? MSIX_CONTROL_ENABLE : 0,
		      MSIX_CONTROL_ENABLE | MSIX_CONTROL_FUNCTION_MASK);
}

bool msix_pending(const struct msix *msix, unsigned index)
{
	return mmio_read64(msix_pba_word(msix, index)) >> index % 64 & 1;
}
