// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/x86/acpi.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "hw/acpi_pm.h"
#include "hw/pci_host.h"
#include "hw/rtc.h"
#include "hw/uart.h"
#include "virtio/virtio_mmio.h"
#include "vmm/options.h"
#include "vmm/x86/layout.h"

_Static_assert(LAYOUT_PORT_ACPI_PM_LENGTH == ACPI_PM_LENGTH, "the DSDT reserves the PM block");
_Static_assert(LAYOUT_SLEEP_TYPE_S5 == ACPI_SLEEP_TYPE_S5, "the DSDT's S5 powers off");
_Static_assert(LAYOUT_PORT_RTC_LENGTH == RTC_PORTS, "the DSDT's RTC");
_Static_assert(LAYOUT_PORT_UART_LENGTH == UART_REGISTERS, "the DSDT's COM1");
_Static_assert(LAYOUT_GSI_PCI_COUNT == PCI_HOST_LINES, "the DSDT's routing");
_Static_assert(LAYOUT_VIRTIO_MMIO_SLOT_LENGTH == VIRTIO_MMIO_LENGTH, "the DSDT's VIO0 to VIOF");
_Static_assert(LAYOUT_ECAM_LENGTH == PCI_HOST_ECAM_LENGTH, "MCFG and e820 have all of the ECAM");
_Static_assert(LAYOUT_PCI32 + LAYOUT_PCI32_LENGTH - 1 == LAYOUT_PCI32_LAST, "PCI memory");
_Static_assert(LAYOUT_PORT_PCI + LAYOUT_PORT_PCI_LENGTH - 1 == LAYOUT_PORT_PCI_LAST, "PCI ports");
_Static_assert(OPTIONS_CPUS_MAX <= ACPI_CPUS_MAX, "the MADT has room for all CPUs");

#define packed __attribute__((packed))

/* vmm/x86/dsdt.S */
extern const uint8_t acpi_dsdt_start[], acpi_dsdt_end[];

/* What the DSDT reads at run time; dsdt.asl has the same fields. */
struct acpi_region {
	uint64_t pci64_base;
	uint64_t pci64_len;
	struct acpi_virtio virtio[LAYOUT_VIRTIO_MMIO_SLOTS]; /* base 0: none there */
};
_Static_assert(sizeof(struct acpi_region) <= LAYOUT_ACPI_REGION_LENGTH, "the DSDT's region");

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum;
	uint8_t reserved[3];
} packed;

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} packed;

#define XSDT_ENTRIES 3

struct xsdt {
	struct header header;
	uint64_t entry[XSDT_ENTRIES];
} packed;

/* Generic address structure. */
struct gas {
	uint8_t space;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access;
	uint64_t address;
} packed;

#define GAS_IO 1
#define GAS_BYTE_ACCESS 1
#define GAS_WORD_ACCESS 2

struct fadt {
	struct header header;
	uint32_t facs;
	uint32_t dsdt;
	uint8_t reserved;
	uint8_t preferred_profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t smi_values[4];
	uint32_t pm1a_evt_blk;
	uint32_t pm1b_evt_blk;
	uint32_t pm1a_cnt_blk;
	uint32_t other_blk[5]; /* PM1b_CNT, PM2_CNT, PM_TMR, GPE0, GPE1 */
	uint8_t pm1_evt_len;
	uint8_t pm1_cnt_len;
	uint8_t other_len[6]; /* of PM2_CNT, PM_TMR, GPE0, GPE1; GPE1_BASE, CST_CNT */
	uint16_t c2_latency;
	uint16_t c3_latency;
	uint8_t cache_and_duty[6];
	uint8_t cmos_day_alarm;
	uint8_t cmos_month_alarm;
	uint8_t cmos_century;
	uint16_t boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct gas reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_revision;
	uint64_t x_facs;
	uint64_t x_dsdt;
	struct gas x_pm1a_evt_blk;
	struct gas x_pm1b_evt_blk;
	struct gas x_pm1a_cnt_blk;
	struct gas x_other_blk[5]; /* as above */
	struct gas sleep_control;
	struct gas sleep_status;
	uint64_t hypervisor;
} packed;
_Static_assert(sizeof(struct fadt) == 276, "ACPI 6.5, table 5.9");

#define FADT_NO_VGA 0x0004     /* boot_arch; 8042 (bit 1) and no RTC (bit 5) clear */
#define FADT_WBINVD 0x00000001 /* flags */
#define FADT_HLT 0x00000004    /* C1 on every CPU */
#define FADT_NO_SLEEP_BUTTON 0x00000020
#define FADT_RESET_REG 0x00000400
#define FADT_NO_C2 101  /* latencies, us: more than 100 and */
#define FADT_NO_C3 1001 /* more than 1000 say that there is none */

struct facs {
	char signature[4];
	uint32_t length;
	uint32_t hardware_signature;
	uint32_t waking_vector;
	uint32_t global_lock;
	uint32_t flags;
	uint64_t x_waking_vector;
	uint8_t version;
	uint8_t reserved[31];
} packed;
_Static_assert(sizeof(struct facs) == 64, "ACPI 6.5, table 5.12");

struct madt_io_apic {
	uint8_t type; /* MADT_IO_APIC */
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} packed;

struct madt_override {
	uint8_t type; /* MADT_OVERRIDE */
	uint8_t length;
	uint8_t bus; /* ISA */
	uint8_t irq;
	uint32_t gsi;
	uint16_t flags;
} packed;

struct madt_nmi {
	uint8_t type; /* MADT_NMI */
	uint8_t length;
	uint8_t processor;
	uint16_t flags;
	uint8_t lint;
} packed;

struct madt_local_apic {
	uint8_t type; /* MADT_LOCAL_APIC */
	uint8_t length;
	uint8_t processor;
	uint8_t apic_id;
	uint32_t flags;
} packed;

struct madt {
	struct header header;
	uint32_t local_apic;
	uint32_t flags;
	struct madt_io_apic io_apic;
	struct madt_override pit;
	struct madt_override sci;
	struct madt_nmi nmi;
	struct madt_local_apic cpu[ACPI_CPUS_MAX]; /* as many as there are */
} packed;

#define MADT_LOCAL_APIC 0
#define MADT_IO_APIC 1
#define MADT_OVERRIDE 2
#define MADT_NMI 4
#define MADT_HAS_PIC 0x1 /* flags: two 8259 to be masked */
#define MADT_CPU_ENABLED 0x1
#define MADT_ALL_CPUS 0xff
#define MADT_ACTIVE_HIGH_LEVEL 0xd

struct mcfg {
	struct header header;
	uint64_t reserved;
	uint64_t ecam;
	uint16_t segment;
	uint8_t bus_first;
	uint8_t bus_last;
	uint32_t reserved2;
} packed;

/* All of it as it lies at LAYOUT_ACPI. */
struct tables {
	struct rsdp rsdp;
	struct facs facs __attribute__((aligned(64)));
	struct fadt fadt __attribute__((aligned(16)));
	struct mcfg mcfg __attribute__((aligned(16)));
	struct xsdt xsdt __attribute__((aligned(16)));
	struct madt madt __attribute__((aligned(16)));
	uint8_t dsdt[] __attribute__((aligned(16)));
};

#define DSDT_ROOM (LAYOUT_ACPI_REGION - LAYOUT_ACPI - offsetof(struct tables, dsdt))

#define table_gpa(member) (LAYOUT_ACPI + offsetof(struct tables, member))

/* What makes the @len bytes at @table sum up to 0. */
static uint8_t checksum(const void *table, size_t len)
{
	const uint8_t *byte = table;
	uint8_t sum = 0;

	while (len--)
		sum -= *byte++;
	return sum;
}

/* Fill the header in, last, since it holds the sum of all. */
static void finish(struct header *header, const char *signature, uint8_t revision, size_t len)
{
	memcpy(header->signature, signature, sizeof(header->signature));
	header->length = len;
	header->revision = revision;
	memcpy(header->oem_id, "VMM   ", sizeof(header->oem_id));
	memcpy(header->oem_table_id, "VMM     ", sizeof(header->oem_table_id));
	header->oem_revision = 1;
	memcpy(header->creator_id, "VMM ", sizeof(header->creator_id));
	header->creator_revision = 1;
	header->checksum = checksum(header, len);
}

static struct gas gas_io(uint16_t port, uint8_t bytes, uint8_t access)
{
	return (struct gas){
		.space = GAS_IO,
		.bit_width = 8 * bytes,
		.access = access,
		.address = port,
	};
}

/*
 * Fixed hardware, in ACPI mode from the start.  Flags that are clear mean:
 * the power button and the RTC's alarm are fixed events.
 */
static void fill_fadt(struct fadt *fadt)
{
	uint16_t event = LAYOUT_PORT_ACPI_PM + ACPI_PM1_EVENT;
	uint16_t control = LAYOUT_PORT_ACPI_PM + ACPI_PM1_CONTROL;
	uint16_t reset = LAYOUT_PORT_ACPI_PM + ACPI_PM_RESET;

	fadt->facs = table_gpa(facs); /* in both fields it would be two FACS */
	fadt->dsdt = fadt->x_dsdt = table_gpa(dsdt);
	fadt->sci_int = LAYOUT_GSI_SCI;
	fadt->pm1a_evt_blk = event;
	fadt->pm1_evt_len = 4;
	fadt->x_pm1a_evt_blk = gas_io(event, 4, GAS_WORD_ACCESS);
	fadt->pm1a_cnt_blk = control;
	fadt->pm1_cnt_len = 2;
	fadt->x_pm1a_cnt_blk = gas_io(control, 2, GAS_WORD_ACCESS);
	fadt->reset_reg = gas_io(reset, 1, GAS_BYTE_ACCESS);
	fadt->reset_value = ACPI_PM_RESET_VALUE;
	fadt->c2_latency = FADT_NO_C2;
	fadt->c3_latency = FADT_NO_C3;
	fadt->cmos_century = LAYOUT_CMOS_CENTURY;
	fadt->boot_arch = FADT_NO_VGA;
	fadt->flags = FADT_WBINVD | FADT_HLT | FADT_NO_SLEEP_BUTTON | FADT_RESET_REG;
	fadt->minor_revision = 5;
	finish(&fadt->header, "FACP", 6, sizeof(*fadt));
}

static void fill_facs(struct facs *facs)
{
	memcpy(facs->signature, "FACS", sizeof(facs->signature));
	facs->length = sizeof(*facs);
	facs->version = 2;
}

static void fill_madt(struct madt *madt, unsigned cpus)
{
	madt->local_apic = LAYOUT_LOCAL_APIC;
	madt->flags = MADT_HAS_PIC;
	madt->io_apic = (struct madt_io_apic){
		.type = MADT_IO_APIC,
		.length = sizeof(madt->io_apic),
		.address = LAYOUT_IO_APIC,
	};
	madt->pit = (struct madt_override){
		.type = MADT_OVERRIDE,
		.length = sizeof(madt->pit),
		.irq = 0,
		.gsi = LAYOUT_GSI_PIT,
	};
	madt->sci = (struct madt_override){
		.type = MADT_OVERRIDE,
		.length = sizeof(madt->sci),
		.irq = LAYOUT_GSI_SCI,
		.gsi = LAYOUT_GSI_SCI,
		.flags = MADT_ACTIVE_HIGH_LEVEL,
	};
	madt->nmi = (struct madt_nmi){
		.type = MADT_NMI,
		.length = sizeof(madt->nmi),
		.processor = MADT_ALL_CPUS,
		.lint = 1,
	};
	for (unsigned i = 0; i < cpus; i++)
		madt->cpu[i] = (struct madt_local_apic){
			.type = MADT_LOCAL_APIC,
			.length = sizeof(madt->cpu[i]),
			.processor = i,
			.apic_id = i,
			.flags = MADT_CPU_ENABLED,
		};
	finish(&madt->header, "APIC", 6, offsetof(struct madt, cpu[cpus]));
}

static void fill_mcfg(struct mcfg *mcfg)
{
	mcfg->ecam = LAYOUT_ECAM;
	mcfg->bus_last = LAYOUT_ECAM_LENGTH / 0x100000 - 1; /* 1 MiB a bus */
	finish(&mcfg->header, "MCFG", 1, sizeof(*mcfg));
}

static void fill_xsdt(struct xsdt *xsdt)
{
	xsdt->entry[0] = table_gpa(fadt);
	xsdt->entry[1] = table_gpa(madt);
	xsdt->entry[2] = table_gpa(mcfg);
	finish(&xsdt->header, "XSDT", 1, sizeof(*xsdt));
}

static void fill_rsdp(struct rsdp *rsdp)
{
	memcpy(rsdp->signature, "RSD PTR ", sizeof(rsdp->signature));
	memcpy(rsdp->oem_id, "VMM   ", sizeof(rsdp->oem_id));
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = table_gpa(xsdt);
	rsdp->checksum = checksum(rsdp, offsetof(struct rsdp, length));
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
}

int acpi_write_tables(const struct guest_memory *mem, const struct acpi_config *config)
{
	size_t dsdt_len = acpi_dsdt_end - acpi_dsdt_start;
	struct tables *tables = guest_memory_ptr(mem, LAYOUT_ACPI, LAYOUT_ACPI_LENGTH);
	struct acpi_region *region =
		guest_memory_ptr(mem, LAYOUT_ACPI_REGION, LAYOUT_ACPI_REGION_LENGTH);

	if (config->cpus == 0 || config->cpus > ACPI_CPUS_MAX ||
	    config->virtio_count > LAYOUT_VIRTIO_MMIO_SLOTS ||
	    config->pci64_len > UINT64_MAX - config->pci64_base)
		return -EINVAL;
	if (!tables || !region)
		return -EFAULT;
	if (dsdt_len > DSDT_ROOM)
		return -ENOSPC;

	memset(tables, 0, LAYOUT_ACPI_LENGTH);
	fill_rsdp(&tables->rsdp);
	fill_xsdt(&tables->xsdt);
	fill_facs(&tables->facs);
	fill_fadt(&tables->fadt);
	fill_madt(&tables->madt, config->cpus);
	fill_mcfg(&tables->mcfg);
	memcpy(tables->dsdt, acpi_dsdt_start, dsdt_len);
	region->pci64_base = config->pci64_base;
	region->pci64_len = config->pci64_len;
	for (unsigned i = 0; i < config->virtio_count; i++)
		region->virtio[i] = config->virtio[i];
	return 0;
}
