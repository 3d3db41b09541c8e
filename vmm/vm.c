// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hw/base/log.h"
#include "hw/base/util.h"
#include "vmm/x86/layout.h"

/* GSIs 0 to 23 are the pins of the I/O APIC; messages have those above. */
#define PINS 24
#define PIC_PINS 16
#define FIXED_ROUTES (PINS + PIC_PINS)
#define MESSAGES_MAX (4096 - FIXED_ROUTES) /* KVM's limit of routes */

int kvm_error(const char *what)
{
	int ret = -errno;

	log_error("KVM: cannot %s: %s", what, strerror(-ret));
	return ret;
}

/* --- Creation --- */

static const struct {
	int number;
	const char *name;
} capabilities[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR" },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, "KVM_CAP_SET_IDENTITY_MAP_ADDR" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP" },
	{ KVM_CAP_PIT2, "KVM_CAP_PIT2" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT" },
};

static int check_kvm(struct vm *vm, unsigned cpus)
{
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	int max, size;

	if (version != KVM_API_VERSION) {
		log_error("/dev/kvm: API version is %d, not %d", version, KVM_API_VERSION);
		return -ENOTSUP;
	}
	for (size_t i = 0; i < array_size(capabilities); i++) {
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, capabilities[i].number) <= 0) {
			log_error("/dev/kvm: this kernel lacks %s", capabilities[i].name);
			return -ENOTSUP;
		}
	}
	max = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && cpus > (unsigned)max) {
		log_error("--cpus %u: KVM on this host runs at most %d a VM", cpus, max);
		return -EINVAL;
	}
	size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		return kvm_error("tell the size of a vCPU's shared page");
	vm->run_size = (size_t)size;
	vm->any_length =
		ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
	return 0;
}

/* Where KVM on Intel hosts keeps what it needs to emulate real mode. */
static int set_hidden_pages(struct vm *vm)
{
	uint64_t identity_map = LAYOUT_KVM_IDENTITY_MAP;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map))
		return kvm_error("place its identity map");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_KVM_TSS))
		return kvm_error("place its task state segment");
	return 0;
}

int vm_create(struct vm *vm, unsigned cpus)
{
	int ret;

	*vm = (struct vm){ .fd = -1 };
	pthread_mutex_init(&vm->lock, NULL);
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0) {
		ret = -errno;
		log_error("/dev/kvm: cannot open: %s", strerror(-ret));
		goto fail;
	}
	ret = check_kvm(vm, cpus);
	if (ret)
		goto fail;
	do
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	ret = vm->fd < 0 ? kvm_error("create a VM") : set_hidden_pages(vm);
	if (ret)
		goto fail;
	return 0;

fail:
	vm_destroy(vm);
	return ret;
}

void vm_destroy(struct vm *vm)
{
	free(vm->routes);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	pthread_mutex_destroy(&vm->lock);
}

int vm_add_memory(struct vm *vm, unsigned slot, uint64_t gpa, uint64_t len, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)host,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		return kvm_error("take guest memory");
	return 0;
}

/* --- Interrupts --- */

struct vm_message {
	bool used; /* by an irqfd */
	struct msi_message message;
};

/* What KVM_SET_GSI_ROUTING takes as a whole, and who uses which message. */
struct vm_routes {
	unsigned messages; /* that have a route */
	struct vm_message message[MESSAGES_MAX];
	struct {      /* a struct kvm_irq_routing */
		uint32_t nr, flags;
		struct kvm_irq_routing_entry entry[FIXED_ROUTES + MESSAGES_MAX];
	} table;
};

static void add_pin(struct vm_routes *routes, uint32_t gsi, uint32_t chip, uint32_t pin)
{
	routes->table.entry[routes->table.nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

/* As on a PC: the timer, GSI 0, is at pin 2 of the I/O APIC (and the MADT says so). */
static void add_pins(struct vm_routes *routes)
{
	for (uint32_t gsi = 0; gsi < PIC_PINS; gsi++)
		add_pin(routes, gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
			gsi % 8);
	for (uint32_t gsi = 0; gsi < PINS; gsi++)
		if (gsi != LAYOUT_GSI_PIT)
			add_pin(routes, gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : LAYOUT_GSI_PIT);
}

int vm_create_irqchip(struct vm *vm)
{
	/*
	 * Stock kernels check the timer's pin, and calibrate by it where nothing
	 * better is; for that they use port 0x61, which the flag provides.
	 */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	vm->routes = calloc(1, sizeof(*vm->routes));
	if (!vm->routes) {
		log_error("out of memory");
		return -ENOMEM;
	}
	add_pins(vm->routes);
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		return kvm_error("create interrupt controllers");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit))
		return kvm_error("create a timer");
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, &vm->routes->table))
		return kvm_error("route interrupts");
	return 0;
}

static void set_line(void *opaque, unsigned gsi, bool level)
{
	struct vm *vm = opaque;
	struct kvm_irq_level irq = { .irq = gsi, .level = level };

	if (ioctl(vm->fd, KVM_IRQ_LINE, &irq))
		log_limited(&vm->messages, "KVM: cannot set an interrupt line: %s",
			    strerror(errno));
}

const struct irq_line_ops vm_irq_line_ops = { .set = set_line };

static int set_irqfd(struct vm *vm, int eventfd, unsigned index, uint32_t flags)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)eventfd,
		.gsi = PINS + index,
		.flags = flags,
	};

	return ioctl(vm->fd, KVM_IRQFD, &irqfd) ? -errno : 0;
}

/* Does @message go to local APICs?  Elsewhere it would be a plain write. */
static bool is_interrupt(const struct msi_message *message)
{
	return message->addr >> 20 == LAYOUT_LOCAL_APIC >> 20;
}

static bool same_message(const struct msi_message *a, const struct msi_message *b)
{
	return a->addr == b->addr && a->data == b->data;
}

/* A message with a route to @wanted, else a free one, else -1. */
static int find_message(const struct vm_routes *routes, const struct msi_message *wanted)
{
	int free_one = -1;

	for (unsigned i = 0; i < routes->messages; i++) {
		const struct vm_message *m = &routes->message[i];

		if (m->used)
			continue;
		if (same_message(&m->message, wanted))
			return (int)i;
		free_one = (int)i;
	}
	if (routes->messages < MESSAGES_MAX)
		return (int)routes->messages;
	return free_one;
}

/* Route message number @index to where @message says, if it is not so already. */
static int set_route(struct vm *vm, unsigned index, const struct msi_message *message)
{
	struct vm_routes *routes = vm->routes;
	bool is_new = index == routes->messages;
	unsigned fixed = routes->table.nr - routes->messages;
	struct kvm_irq_routing_entry *entry = &routes->table.entry[fixed + index];
	const struct kvm_irq_routing_entry before = *entry;

	if (!is_new && same_message(&routes->message[index].message, message))
		return 0;
	*entry = (struct kvm_irq_routing_entry){
		.gsi = PINS + index,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {
			.address_lo = (uint32_t)message->addr,
			.address_hi = (uint32_t)(message->addr >> 32),
			.data = message->data,
		},
	};
	routes->table.nr += is_new;
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, &routes->table)) {
		int ret = -errno;

		/* The table is set as a whole: a bad route must not stay in it. */
		routes->table.nr -= is_new;
		*entry = before;
		return ret;
	}
	routes->messages += is_new;
	routes->message[index].message = *message;
	return 0;
}

static int msi_attach(void *opaque, int eventfd, const struct msi_message *message)
{
	struct vm *vm = opaque;
	int index, ret;

	if (!is_interrupt(message))
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	index = find_message(vm->routes, message);
	ret = index < 0 ? -ENOSPC : set_route(vm, (unsigned)index, message);
	if (ret == 0)
		ret = set_irqfd(vm, eventfd, (unsigned)index, 0);
	if (ret == 0)
		vm->routes->message[index].used = true;
	pthread_mutex_unlock(&vm->lock);
	return ret ? ret : index;
}

static void msi_detach(void *opaque, int eventfd, int handle)
{
	struct vm *vm = opaque;

	/* KVM waits here for injections under way. */
	set_irqfd(vm, eventfd, (unsigned)handle, KVM_IRQFD_FLAG_DEASSIGN);
	pthread_mutex_lock(&vm->lock);
	vm->routes->message[handle].used = false;
	pthread_mutex_unlock(&vm->lock);
}

const struct msi_ops vm_msi_ops = { .attach = msi_attach, .detach = msi_detach };

/* --- Doorbells --- */

static int set_ioeventfd(struct vm *vm, const struct doorbell *doorbell, uint32_t flags)
{
	struct kvm_ioeventfd io = {
		.addr = doorbell->addr,
		/*
		 * Drivers write the queue's index; with NOTIFICATION_DATA four
		 * bytes, which exit where KVM takes no doorbell of any length.
		 */
		.len = vm->any_length ? 0 : 2,
		.fd = doorbell->eventfd,
		.flags = flags,
	};

	if (doorbell->len) {
		io.len = doorbell->len;
		io.datamatch = doorbell->value;
		io.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	}
	if (doorbell->is_port)
		io.flags |= KVM_IOEVENTFD_FLAG_PIO;
	return ioctl(vm->fd, KVM_IOEVENTFD, &io) ? -errno : 0;
}

static int doorbell_attach(void *opaque, const struct doorbell *doorbell)
{
	struct vm *vm = opaque;
	int ret = set_ioeventfd(vm, doorbell, 0);

	if (ret)
		log_info_limited(&vm->messages,
				 "KVM takes no doorbell at %s0x%" PRIx64 " (%s): its writes exit",
				 doorbell->is_port ? "port " : "", doorbell->addr, strerror(-ret));
	return ret;
}

static void doorbell_detach(void *opaque, const struct doorbell *doorbell)
{
	set_ioeventfd(opaque, doorbell, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

const struct doorbell_ops vm_doorbell_ops = {
	.attach = doorbell_attach,
	.detach = doorbell_detach,
};
