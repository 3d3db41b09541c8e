// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/blk.h"
#include "hw/acpi_pm.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"
#include "hw/base/util.h"
#include "hw/debug_port.h"
#include "hw/i8042.h"
#include "hw/pci_host.h"
#include "hw/rtc.h"
#include "hw/uart.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"
#include "vmm/boot.h"
#include "vmm/boot_report.h"
#include "vmm/exit_status.h"
#include "vmm/io_watch.h"
#include "vmm/loop.h"
#include "vmm/loop_clock.h"
#include "vmm/metadata.h"
#include "vmm/options.h"
#include "vmm/ram.h"
#include "vmm/stats.h"
#include "vmm/terminal.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"
#include "vmm/x86/acpi.h"
#include "vmm/x86/cpu.h"
#include "vmm/x86/layout.h"

#define GIB (1ULL << 30)
#define PLACE_LEN 64 /* of the text that says where a device is */
#define DESCRIPTORS 1024 /* more than most VMs use */

struct machine_disk {
	char *name; /* for messages */
	struct disk image;
	struct blk *blk;
	struct virtio_pci *pci;
	struct virtio_mmio *mmio; /* of the two, the one that its transport needs */
	bool is_open, is_attached;
	struct machine *machine;
};

struct machine {
	const struct options *options;
	struct boot_report boot_report, *report; /* NULL: nobody asked */

	struct boot boot;
	struct machine_disk *disk; /* options->disk_count of them */
	struct stats_disk *stats_disk; /* one for each */
	int stats_fd;                  /* with options->stats */
	struct ram ram;

	struct loop loop;
	struct terminal *terminal;
	struct loop_clock clock;
	struct blk_threads io; /* made so far; no more than there are queues */
	struct io_watch watch; /* no loop: nobody looks */

	struct vm vm;
	struct vcpu *vcpu;
	unsigned vcpu_count; /* made so far */
	struct kvm_cpuid2 *cpuid;
	bool over; /* atomic: vCPUs stay out of the guest */

	struct bus pio, mmio;
	struct irq_line uart_line, rtc_line, sci_line, pci_line[PCI_HOST_LINES];
	struct power_port power;
	struct uart *uart;
	struct rtc *rtc;
	struct acpi_pm *pm;
	struct pci_host pci;
	struct pci_window pci64;
	struct acpi_virtio slot[LAYOUT_VIRTIO_MMIO_SLOTS];
	unsigned slot_count; /* taken so far */
	struct byte_stream debug; /* only for the report */
};

/* Say that @what cannot be made, for the reason @ret. */
static int cannot_make(const char *what, int ret)
{
	log_error("cannot make %s: %s", what, strerror(-ret));
	return ret;
}

/* --- What the guest can do to the machine as a whole --- */

static void end(struct machine *m, int status)
{
	store_release(&m->over, true);
	loop_stop(&m->loop, status);
}

static void power_off(void *opaque)
{
	end(opaque, STATUS_OK);
}

static void reset(void *opaque)
{
	end(opaque, STATUS_GUEST_RESET);
}

static const struct power_ops power_ops = { .off = power_off, .reset = reset };

static void vcpu_ended(void *opaque, int status)
{
	end(opaque, status);
}

/* --- Files: checked before KVM is touched --- */

static int boot_up(struct machine *m)
{
	return boot_open(&m->boot, m->options);
}

static void boot_down(struct machine *m)
{
	boot_close(&m->boot);
}

static void disks_down(struct machine *m)
{
	for (unsigned i = 0; i < m->options->disk_count; i++) {
		if (m->disk[i].is_open)
			disk_close(&m->disk[i].image);
		free(m->disk[i].name);
	}
	free(m->disk);
}

static int disks_up(struct machine *m)
{
	const struct options *options = m->options;
	int ret = 0;

	m->disk = calloc(options->disk_count, sizeof(*m->disk));
	if (!m->disk && options->disk_count)
		return cannot_make("disks", -ENOMEM);
	for (unsigned i = 0; i < options->disk_count && ret == 0; i++) {
		const struct disk_config *config = &options->disk[i].disk;

		if (asprintf(&m->disk[i].name, "disk '%s'", config->path) < 0) {
			m->disk[i].name = NULL;
			ret = cannot_make("disks", -ENOMEM);
			break;
		}
		ret = disk_open(&m->disk[i].image, config);
		m->disk[i].is_open = ret == 0;
	}
	if (ret)
		disks_down(m);
	return ret;
}

static void stats_down(struct machine *m)
{
	if (m->options->stats)
		close(m->stats_fd);
	free(m->stats_disk);
}

/* Is @path a file that the VM reads?  A lock tells it only of disks, and not everywhere. */
static bool is_input(const struct options *options, const char *path)
{
	struct stat file, input;
	const char *other;

	if (stat(path, &file))
		return false;
	for (unsigned i = 0; i < options->disk_count + 2; i++) {
		other = i == 0 ? options->kernel : i == 1 ? options->initrd :
			options->disk[i - 2].disk.path;
		if (!other || stat(other, &input) || input.st_dev != file.st_dev ||
		    input.st_ino != file.st_ino)
			continue;
		log_error("--stats '%s': it is the same file as '%s'", path, other);
		return true;
	}
	return false;
}

static int stats_up(struct machine *m)
{
	if (m->options->stats && is_input(m->options, m->options->stats))
		return -EINVAL;
	m->stats_disk = calloc(m->options->disk_count + 1, sizeof(*m->stats_disk));
	if (!m->stats_disk)
		return cannot_make("statistics", -ENOMEM);
	if (m->options->stats)
		m->stats_fd = stats_open(m->options->stats);
	if (m->stats_fd < 0)
		free(m->stats_disk);
	return min(m->stats_fd, 0);
}

/* --- The process: signals and terminal --- */

/* Write what the disks did where the user wants it; on stderr, too, if @print.  0 or -errno. */
static int tell_stats(const struct machine *m, bool print)
{
	const struct options *options = m->options;
	const struct stats_view view = {
		.disk = m->stats_disk,
		.disk_count = options->disk_count,
		.thread = m->io.thread,
		.thread_count = m->io.count,
	};

	for (unsigned i = 0; i < options->disk_count; i++)
		m->stats_disk[i] = (struct stats_disk){ options->disk[i].disk.path,
							m->disk[i].blk };
	if (print)
		stats_print(&view);
	return options->stats ? stats_write(m->stats_fd, options->stats, &view) : 0;
}

static void stats_wanted(void *opaque, int signo)
{
	(void)signo;
	tell_stats(opaque, true);
}

/* Some image may have grown or shrunk. */
static void look_again(void *opaque, int signo)
{
	struct machine *m = opaque;

	(void)signo;
	for (unsigned i = 0; i < m->options->disk_count; i++) {
		struct machine_disk *disk = &m->disk[i];
		uint64_t before = load_relaxed(&disk->image.sectors), now;

		if (disk_look_again(&disk->image, &now))
			log_error("%s: its size stays %" PRIu64 " sectors", disk->name, before);
		else if (blk_set_capacity(disk->blk, now))
			log_info("%s: %" PRIu64 " sectors, before %" PRIu64, disk->name,
				 load_relaxed(&disk->image.sectors), before);
	}
}

static void tell_metadata(void *opaque, int signo)
{
	struct machine *m = opaque;

	(void)signo;
	metadata_clock();
	for (unsigned i = 0; i < m->options->disk_count; i++)
		metadata_disk(i, blk_virtio(m->disk[i].blk)->queue_count,
			      m->options->disk[i].disk.path);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		vcpu_tell_tsc(&m->vcpu[i]);
}

static int loop_up(struct machine *m)
{
	int ret = loop_init(&m->loop);

	/* Caught once all parts are made: the loop runs last. */
	if (ret)
		return ret;
	loop_on_signal(&m->loop, SIGUSR1, stats_wanted, m);
	loop_on_signal(&m->loop, SIGUSR2, look_again, m);
	loop_on_signal(&m->loop, METADATA_SIGNAL, tell_metadata, m);
	return 0;
}

static void loop_down(struct machine *m)
{
	loop_destroy(&m->loop);
}

static int terminal_up(struct machine *m)
{
	return terminal_create(&m->terminal, &m->loop, 0, 1);
}

static void terminal_down(struct machine *m)
{
	terminal_destroy(m->terminal);
}

/* --- Memory, then KVM --- */

static int ram_up(struct machine *m)
{
	int ret = ram_create(&m->ram, m->options->memory);

	if (ret)
		return ret;
	ret = boot_place(&m->boot, &m->ram.memory);
	if (ret)
		ram_destroy(&m->ram);
	return ret;
}

static void ram_down(struct machine *m)
{
	ram_destroy(&m->ram);
}

static int loader_up(struct machine *m)
{
	return boot_load_begin(&m->boot, &m->ram.memory);
}

static void loader_down(struct machine *m)
{
	boot_load_wait(&m->boot);
}

/*
 * Where BARs go that do not fit below 4 GiB: above RAM, as far as the CPU
 * reaches, and no longer than a kernel likes to map.
 */
static void choose_pci64(struct machine *m)
{
	uint64_t limit = 1ULL << cpu_physical_bits(m->cpuid);
	uint64_t base = align_up(max(m->ram.end, (uint64_t)LAYOUT_HIGH_RAM), GIB);

	if (base < limit)
		m->pci64 = (struct pci_window){ .base = base, .len = min(limit - base, 64 * GIB) };
}

static void vm_down(struct machine *m)
{
	free(m->cpuid);
	vm_destroy(&m->vm);
}

static int vm_up(struct machine *m)
{
	int ret = vm_create(&m->vm, m->options->cpus);

	if (ret)
		return ret;
	ret = cpu_get_supported(m->vm.kvm_fd, &m->cpuid);
	if (ret == 0)
		ret = ram_attach(&m->ram, &m->vm);
	if (ret == 0)
		ret = vm_create_irqchip(&m->vm);
	if (ret)
		vm_down(m);
	else
		choose_pci64(m);
	return ret;
}

/* --- The board --- */

static void line_init(struct machine *m, struct irq_line *line, unsigned gsi)
{
	irq_line_init(line, gsi, &vm_irq_line_ops, &m->vm);
}

static void buses_down(struct machine *m)
{
	for (unsigned i = 0; i < PCI_HOST_LINES; i++)
		irq_line_destroy(&m->pci_line[i]);
	irq_line_destroy(&m->sci_line);
	irq_line_destroy(&m->rtc_line);
	irq_line_destroy(&m->uart_line);
	bus_destroy(&m->mmio);
	bus_destroy(&m->pio);
}

/* Addresses that a BAR must not be moved to: what the kernel answers itself. */
static int reserve_memory(struct machine *m)
{
	const struct bus_region apics = {
		.base = LAYOUT_IO_APIC,
		.len = LAYOUT_HIGH_RAM - LAYOUT_IO_APIC,
	};
	int ret = bus_add(&m->mmio, &apics);

	for (unsigned i = 0; i < m->ram.memory.count && ret == 0; i++) {
		const struct guest_region *r = &m->ram.memory.region[i];
		const struct bus_region region = { .base = r->gpa, .len = r->len };

		ret = bus_add(&m->mmio, &region);
	}
	return ret;
}

static int buses_up(struct machine *m)
{
	int ret;

	bus_init(&m->pio);
	bus_init(&m->mmio);
	line_init(m, &m->uart_line, LAYOUT_GSI_UART);
	line_init(m, &m->rtc_line, LAYOUT_GSI_RTC);
	line_init(m, &m->sci_line, LAYOUT_GSI_SCI);
	for (unsigned i = 0; i < PCI_HOST_LINES; i++)
		line_init(m, &m->pci_line[i], LAYOUT_GSI_PCI + i);
	ret = reserve_memory(m);
	if (ret) {
		buses_down(m);
		return cannot_make("buses", ret);
	}
	return 0;
}

static void alarm_rang(void *opaque)
{
	struct machine *m = opaque;

	rtc_alarm(m->rtc);
}

static int clock_up(struct machine *m)
{
	return loop_clock_init(&m->clock, &m->loop, alarm_rang, m);
}

static void clock_down(struct machine *m)
{
	loop_clock_destroy(&m->clock);
}

static void wake(void *opaque)
{
	struct machine *m = opaque;

	acpi_pm_rtc_event(m->pm);
}

static void chips_down(struct machine *m)
{
	if (m->rtc)
		rtc_destroy(m->rtc);
	if (m->pm)
		acpi_pm_destroy(m->pm);
	if (m->uart)
		uart_destroy(m->uart);
}

static int place_chips(struct machine *m)
{
	const struct bus_region port[] = {
		{ LAYOUT_PORT_UART, UART_REGISTERS, &uart_bus_ops, m->uart },
		{ LAYOUT_PORT_RTC, RTC_PORTS, &rtc_bus_ops, m->rtc },
		{ LAYOUT_PORT_ACPI_PM, ACPI_PM_LENGTH, &acpi_pm_bus_ops, m->pm },
		{ LAYOUT_PORT_I8042_DATA, 1, &i8042_data_ops, &m->power },
		{ LAYOUT_PORT_I8042_COMMAND, 1, &i8042_command_ops, &m->power },
	};
	const struct bus_region debug_port = { LAYOUT_PORT_DEBUG, 1, &debug_port_ops, &m->debug };
	int ret = 0;

	for (size_t i = 0; i < array_size(port) && ret == 0; i++)
		ret = bus_add(&m->pio, &port[i]);
	if (ret == 0 && m->report) {
		m->debug = boot_report_debug_stream(m->report);
		ret = bus_add(&m->pio, &debug_port);
	}
	return ret;
}

static int chips_up(struct machine *m)
{
	const struct byte_stream terminal = terminal_stream(m->terminal);
	const struct byte_stream stream = boot_report_console(m->report, &terminal);
	const struct alarm_clock clock = loop_clock_get(&m->clock);
	int ret;

	m->power = (struct power_port){ &power_ops, m };
	m->uart = uart_create(&m->uart_line, &stream);
	m->pm = acpi_pm_create(&m->sci_line, &m->power);
	m->rtc = rtc_create(&m->rtc_line, &clock, LAYOUT_CMOS_CENTURY, wake, m);
	ret = m->uart && m->pm && m->rtc ? place_chips(m) : -ENOMEM;
	if (ret) {
		chips_down(m);
		return cannot_make("the board's chips", ret);
	}
	terminal_connect(m->terminal, m->uart, uart_input_ready, uart_output_ready);
	return 0;
}

static int pci_up(struct machine *m)
{
	const struct pci_host_config config = {
		.memory_bus = &m->mmio,
		.io_bus = &m->pio,
		.line = m->pci_line,
		.ecam = LAYOUT_ECAM,
		.memory32 = { .base = LAYOUT_PCI32, .len = LAYOUT_PCI32_LENGTH },
		.memory64 = m->pci64,
		.io = { .base = LAYOUT_PORT_PCI, .len = LAYOUT_PORT_PCI_LENGTH },
	};
	int ret = pci_host_init(&m->pci, &config);

	return ret ? cannot_make("the PCI host bridge", ret) : 0;
}

static void pci_down(struct machine *m)
{
	pci_host_destroy(&m->pci);
}

/* --- virtio-blk --- */

_Static_assert(BLK_QUEUES_MAX <= VIRTIO_PCI_QUEUES_MAX, "any number goes by PCI");

/* One queue a CPU, unless the user said how many. */
static uint16_t queue_count(const struct machine *m, const struct blk_config *config)
{
	return config->queues ? config->queues :
		(uint16_t)min(m->options->cpus, (unsigned)BLK_QUEUES_MAX);
}

static void io_threads_down(struct machine *m)
{
	while (m->io.count)
		io_thread_destroy(m->io.thread[--m->io.count]);
	free(m->io.thread);
}

/* @config is what all of them have in common. */
static int io_thread_up(struct machine *m, struct io_thread_config config)
{
	const struct options *options = m->options;
	unsigned index = m->io.count;
	cpu_set_t cpus;
	char name[16];
	int ret;

	snprintf(name, sizeof(name), "io%u", index);
	config.name = name;
	config.number = index;
	if (options->io_cpu_count) {
		unsigned cpu = options->io_cpu[index % options->io_cpu_count];

		CPU_ZERO(&cpus);
		CPU_SET(cpu, &cpus);
		config.cpus = &cpus;
		log_info("%s: on CPU %u", name, cpu);
	}
	ret = io_thread_create(&m->io.thread[index], &config);
	if (ret == 0)
		m->io.count++;
	return ret;
}

static bool wants_fixed_buffers(const struct options *options)
{
	for (unsigned i = 0; i < options->disk_count; i++)
		if (options->disk[i].disk.fixed_buffers)
			return true;
	return false;
}

static int io_threads_up(struct machine *m)
{
	const struct options *options = m->options;
	struct io_thread_config config = { 0 };
	unsigned queues = 0, count;
	int ret = 0;

	if (wants_fixed_buffers(options))
		config.memory = ram_host(&m->ram);
	for (unsigned i = 0; i < options->disk_count; i++) {
		config.use_uring |= options->disk[i].disk.aio == DISK_AIO_IO_URING;
		queues += queue_count(m, &options->disk[i]);
	}
	count = min(options->io_threads, queues);
	if (!count)
		return 0;
	config.queues = (queues + count - 1) / count;
	m->io.thread = calloc(count, sizeof(*m->io.thread));
	if (!m->io.thread)
		return cannot_make("I/O threads", -ENOMEM);
	for (unsigned i = 0; i < count && ret == 0; i++)
		ret = io_thread_up(m, config);
	if (ret) {
		io_threads_down(m);
		return cannot_make("an I/O thread", ret);
	}
	return 0;
}

static void log_device(const struct machine *m, const struct machine_disk *disk,
		       const struct blk_config *config, const char *place)
{
	unsigned queues = config->queues, first = m->io.next - queues;
	char threads[8 * OPTIONS_IO_THREADS_MAX] = "";
	size_t len = 0;

	for (unsigned i = 0; i < min(queues, m->io.count); i++)
		len += (size_t)snprintf(threads + len, sizeof(threads) - len, " io%u",
					(first + i) % m->io.count);
	log_info("%s: virtio-blk at %s, %" PRIu64 " sectors%s, %u queue%s of %u by%s%s", disk->name,
		 place, disk->image.sectors, disk->image.read_only ? " (read-only)" : "",
		 queues, queues == 1 ? "" : "s", config->queue_size, threads,
		 queues > m->io.count && m->io.count > 1 ? " in turn" : "");
}

/* Put the disk on the PCI bus, and say where in @place. */
static int attach_pci(struct machine *m, struct machine_disk *disk,
		      const struct blk_config *config, const struct doorbell_port *doorbells,
		      char place[static PLACE_LEN])
{
	const struct virtio_pci_kind kind = {
		.class = BLK_PCI_CLASS,
		.transitional_id = config->transport == BLK_TRANSPORT_PCI_TRANSITIONAL ?
			BLK_PCI_TRANSITIONAL_ID : 0,
	};
	const struct msi_port messages = { &vm_msi_ops, &m->vm };
	struct pci_device *function;
	int ret;

	ret = virtio_pci_create(&disk->pci, blk_virtio(disk->blk), &kind, &messages, doorbells);
	if (ret)
		return ret;
	function = virtio_pci_function(disk->pci);
	ret = pci_host_attach(&m->pci, function);
	if (ret == 0)
		snprintf(place, PLACE_LEN, "PCI 00:%02x.%u", function->devfn >> 3,
			 function->devfn & 7u);
	return ret;
}

/* Give the disk the next slot, which options_check() knows to be there. */
static int attach_mmio(struct machine *m, struct machine_disk *disk,
		       const struct doorbell_port *doorbells, char place[static PLACE_LEN])
{
	unsigned slot = m->slot_count;
	const struct virtio_mmio_config config = {
		.bus = &m->mmio,
		.base = LAYOUT_VIRTIO_MMIO + slot * LAYOUT_VIRTIO_MMIO_SLOT_LENGTH,
		.line = &m->pci_line[slot % PCI_HOST_LINES],
		.doorbell = *doorbells,
	};
	int ret = virtio_mmio_create(&disk->mmio, blk_virtio(disk->blk), &config);

	if (ret)
		return ret;
	m->slot[slot] = (struct acpi_virtio){ (uint32_t)config.base, config.line->gsi };
	m->slot_count++;
	snprintf(place, PLACE_LEN, "MMIO 0x%" PRIx64 " with GSI %u", config.base,
		 config.line->gsi);
	return 0;
}

static void queue_starts(void *opaque)
{
	const struct machine_disk *disk = opaque;

	boot_report_reached(disk->machine->report, BOOT_DRIVER_OK, disk->name);
	io_watch_wake(&disk->machine->watch);
}

static void has_read(void *opaque)
{
	const struct machine_disk *disk = opaque;

	boot_report_reached(disk->machine->report, BOOT_FIRST_READ, disk->name);
}

static int blk_up(struct machine *m, struct machine_disk *disk, const struct blk_config *given)
{
	struct blk_config config = *given;
	static const struct doorbell_port exits = { NULL, NULL };
	const struct doorbell_port doorbells = { &vm_doorbell_ops, &m->vm };
	bool exit = m->options->doorbell == DOORBELL_MODE_EXIT;
	char place[PLACE_LEN];
	int ret;

	config.number = (unsigned)(disk - m->disk);
	config.queues = queue_count(m, given);
	ret = blk_create(&disk->blk, disk->name, &config, &disk->image, &m->io, &m->ram.memory);
	if (ret == 0 && config.transport == BLK_TRANSPORT_MMIO)
		ret = attach_mmio(m, disk, exit ? &exits : &doorbells, place);
	else if (ret == 0)
		ret = attach_pci(m, disk, &config, exit ? &exits : &doorbells, place);
	disk->is_attached = ret == 0;
	disk->machine = m;
	if (ret == 0)
		blk_observe(disk->blk, &(struct blk_observer){
			queue_starts, m->report ? has_read : NULL, disk });
	if (ret == 0)
		log_device(m, disk, &config, place);
	else if (ret == -ENOSPC)
		log_error("%s: the PCI bus has no place for one more disk", disk->name);
	else
		log_error("%s: cannot make its device: %s", disk->name, strerror(-ret));
	return ret;
}

/*
 * The I/O threads end in the middle: devices are stopped by their
 * acknowledgements, and they watch the doorbells as long as they live.
 */
static void blks_down(struct machine *m)
{
	for (unsigned i = 0; i < m->options->disk_count; i++)
		if (m->disk[i].is_attached)
			virtio_device_shut_down(blk_virtio(m->disk[i].blk));
	io_threads_down(m);
	for (unsigned i = 0; i < m->options->disk_count; i++) {
		struct machine_disk *disk = &m->disk[i];

		if (disk->is_attached && disk->pci)
			pci_host_detach(&m->pci, virtio_pci_function(disk->pci));
		if (disk->pci)
			virtio_pci_destroy(disk->pci);
		if (disk->mmio)
			virtio_mmio_destroy(disk->mmio);
		if (disk->blk)
			blk_destroy(disk->blk);
	}
}

static int blks_up(struct machine *m)
{
	int ret = io_threads_up(m);

	if (ret)
		return ret;
	for (unsigned i = 0; i < m->options->disk_count && ret == 0; i++)
		ret = blk_up(m, &m->disk[i], &m->options->disk[i]);
	if (ret)
		blks_down(m);
	return ret;
}

static int watch_up(struct machine *m)
{
	const struct options *options = m->options;
	struct blk **blk;
	int ret;

	if (!options->io_warn_s || !options->disk_count)
		return 0;
	blk = calloc(options->disk_count, sizeof(*blk));
	if (!blk)
		return cannot_make("a watch for I/O that hangs", -ENOMEM);
	for (unsigned i = 0; i < options->disk_count; i++)
		blk[i] = m->disk[i].blk;
	ret = io_watch_init(&m->watch, &m->loop, options->io_warn_s, &m->io, blk,
			    options->disk_count);
	free(blk);
	return ret;
}

static void watch_down(struct machine *m)
{
	if (m->watch.loop)
		io_watch_destroy(&m->watch);
}

/* It was pinned beside all that came up meanwhile. */
static int fixed_buffers_up(struct machine *m)
{
	int ret = 0;

	for (unsigned i = 0; i < m->io.count && wants_fixed_buffers(m->options) && ret == 0; i++)
		ret = io_thread_wait_for_memory(m->io.thread[i]);
	return ret;
}

/* --- vCPUs --- */

static void vcpus_down(struct machine *m)
{
	while (m->vcpu_count)
		vcpu_destroy(&m->vcpu[--m->vcpu_count]);
	free(m->vcpu);
}

static int vcpu_up(struct machine *m, unsigned index)
{
	const struct vcpu_config config = {
		.pio = &m->pio,
		.mmio = &m->mmio,
		.ended = vcpu_ended,
		.opaque = m,
		.over = &m->over,
		.report = m->report,
	};
	struct vcpu *vcpu = &m->vcpu[index];
	int ret = vcpu_create(vcpu, &m->vm, index, &config);

	if (ret)
		return ret;
	m->vcpu_count++;
	ret = cpu_set_cpuid(vcpu->fd, m->cpuid, index, m->options->cpus);
	if (ret == 0)
		ret = cpu_set_msrs(vcpu->fd);
	return ret;
}

static int vcpus_up(struct machine *m)
{
	int ret = 0;

	m->vcpu = calloc(m->options->cpus, sizeof(*m->vcpu));
	if (!m->vcpu)
		return cannot_make("vCPUs", -ENOMEM);
	for (unsigned i = 0; i < m->options->cpus && ret == 0; i++)
		ret = vcpu_up(m, i);
	if (ret)
		vcpus_down(m);
	return ret;
}

/* --- Software --- */

static int load_up(struct machine *m)
{
	const struct acpi_config acpi = {
		.cpus = m->options->cpus,
		.pci64_base = m->pci64.base,
		.pci64_len = m->pci64.len,
		.virtio = m->slot,
		.virtio_count = m->slot_count,
	};
	struct kernel_entry entry;
	int ret = acpi_write_tables(&m->ram.memory, &acpi);

	if (ret)
		return cannot_make("ACPI tables", ret);
	ret = boot_load_end(&m->boot, &entry);
	return ret ? ret : cpu_set_boot_state(m->vcpu[0].fd, &entry);
}

/* --- The whole --- */

static const struct part {
	int (*up)(struct machine *m); /* 0, or -errno and nothing is left */
	void (*down)(struct machine *m);
	enum boot_step reached; /* once it is up */
} parts[] = {
	{ .up = boot_up, .down = boot_down },
	{ .up = disks_up, .down = disks_down },
	{ .up = stats_up, .down = stats_down, .reached = BOOT_FILES },
	{ .up = ram_up, .down = ram_down, .reached = BOOT_MEMORY },
	{ .up = loop_up, .down = loop_down },
	{ .up = terminal_up, .down = terminal_down },
	{ .up = clock_up, .down = clock_down },
	{ .up = loader_up, .down = loader_down }, /* beside what follows; signals are blocked */
	{ .up = vm_up, .down = vm_down, .reached = BOOT_KVM },
	{ .up = buses_up, .down = buses_down },
	{ .up = chips_up, .down = chips_down },
	{ .up = pci_up, .down = pci_down },
	{ .up = blks_up, .down = blks_down },
	{ .up = watch_up, .down = watch_down },
	{ .up = vcpus_up, .down = vcpus_down, .reached = BOOT_BOARD },
	{ .up = load_up, .reached = BOOT_KERNEL },
	{ .up = fixed_buffers_up },
};

/* Start the vCPUs, serve until the VM's end, and stop them. */
static int run(struct machine *m)
{
	int status = STATUS_ERROR, ret = 0;

	terminal_start(m->terminal);
	for (unsigned i = 0; i < m->vcpu_count && ret == 0; i++)
		ret = vcpu_start(&m->vcpu[i]);
	if (ret == 0)
		status = loop_run(&m->loop);
	store_release(&m->over, true);
	/* A vCPU that waits for a queue in a register's handler answers no order. */
	for (unsigned i = 0; i < m->options->disk_count; i++)
		virtio_device_end_waits(blk_virtio(m->disk[i].blk));
	for (unsigned i = 0; i < m->vcpu_count; i++)
		vcpu_order_stop(&m->vcpu[i]);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		vcpu_stop(&m->vcpu[i]);
	terminal_flush(m->terminal);
	boot_report_print(m->report);
	if (tell_stats(m, false) && status == STATUS_OK)
		status = STATUS_ERROR;
	return status;
}

/*
 * Each disk takes a few descriptors; the default limit is for one's own files.
 * The kernel's table of them grows now: as soon as there are threads, it waits
 * for an RCU grace period, which takes milliseconds, each time that it doubles.
 */
static void make_room_for_descriptors(void)
{
	struct rlimit limit;
	int fd;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, DESCRIPTORS - 1);
	if (fd >= 0)
		close(fd);
}

int machine_run(const struct options *options, uint64_t start)
{
	struct machine m = { .options = options };
	int status = STATUS_ERROR;
	size_t made;

	if (options->boot_report) {
		m.report = &m.boot_report;
		boot_report_init(m.report, start);
	}
	boot_report_reached(m.report, BOOT_OPTIONS, "");
	make_room_for_descriptors();
	for (made = 0; made < array_size(parts); made++) {
		if (parts[made].up(&m))
			break;
		boot_report_reached(m.report, parts[made].reached, "");
	}
	if (made == array_size(parts))
		status = run(&m);
	while (made--)
		if (parts[made].down)
			parts[made].down(&m);
	return status;
}
