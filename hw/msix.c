// SPDX-License-Identifier: BSD-2-Clause
#include "hw/msix.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"

enum { ADDR_LOW, ADDR_HIGH, DATA, CONTROL };

/* What holds a message back. */
static const char is_off[] = "MSI-X is off", no_master[] = "PCI bus mastering is off",
		  all_masked[] = "all MSI-X vectors are masked",
		  is_masked[] = "the MSI-X vector is masked",
		  not_routed[] = "the MSI-X vector's message cannot be sent";

bool msix_enabled(const struct msix *msix)
{
	return pci_config_word(msix->dev, msix->capability + PCI_MSIX_FLAGS) &
		PCI_MSIX_FLAGS_ENABLE;
}

/* Why the function may not send any message; NULL: it may. */
static const char *holds_all(const struct msix *msix)
{
	uint16_t control = pci_config_word(msix->dev, msix->capability + PCI_MSIX_FLAGS);

	if (!(control & PCI_MSIX_FLAGS_ENABLE))
		return is_off;
	if (!pci_device_bus_master(msix->dev))
		return no_master;
	return control & PCI_MSIX_FLAGS_MASKALL ? all_masked : NULL;
}

static struct msi_message vector_message(const struct msix_vector *v)
{
	return (struct msi_message){
		.addr = (uint64_t)load_relaxed(&v->entry[ADDR_HIGH]) << 32 |
			load_relaxed(&v->entry[ADDR_LOW]),
		.data = load_relaxed(&v->entry[DATA]),
	};
}

static void vector_detach(struct msix *msix, struct msix_vector *v)
{
	if (v->handle >= 0)
		msix->port.ops->detach(msix->port.opaque, v->eventfd, v->handle);
	v->handle = -1;
}

/* @held: what holds all vectors, if anything does. */
static void vector_update(struct msix *msix, struct msix_vector *v, const char *held)
{
	struct msi_message message = vector_message(v);

	if (!held && (v->entry[CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT))
		held = is_masked;
	if (held)
		vector_detach(msix, v);
	else if (v->handle < 0)
		/* A message that cannot be routed stays pending, which harms no one. */
		v->handle = msix->port.ops->attach(msix->port.opaque, v->eventfd, &message);
	if (!held && v->handle < 0)
		held = not_routed;
	store_relaxed(&v->held, held);
}

void msix_update(struct msix *msix)
{
	const char *held = holds_all(msix);

	for (unsigned i = 0; i < msix->count; i++)
		vector_update(msix, &msix->vector[i], held);
}

void msix_notify(const struct msix_vector *vector)
{
	/* Fails only when 2^64 - 2 signals are pending already. */
	eventfd_write(vector->eventfd, 1);
}

enum msix_state msix_look(const struct msix_vector *vector, struct msi_message *message)
{
	const char *held = load_relaxed(&vector->held);

	*message = vector_message(vector);
	if (!held)
		return MSIX_SENT;
	return held == is_masked || held == all_masked ? MSIX_MASKED : MSIX_OFF;
}

static bool is_signalled(const struct msix_vector *v)
{
	struct pollfd pfd = { .fd = v->eventfd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static bool vector_pending(const struct msix_vector *v)
{
	/* While attached, the counter is on its way to the guest. */
	return v->handle < 0 && is_signalled(v);
}

const char *msix_held(const struct msix_vector *vector)
{
	const char *held = load_relaxed(&vector->held);

	return held && is_signalled(vector) ? held : NULL;
}

void msix_vector_drain(struct msix_vector *vector)
{
	eventfd_t count;

	eventfd_read(vector->eventfd, &count);
}

void msix_drain(struct msix *msix)
{
	for (unsigned i = 0; i < msix->count; i++)
		msix_vector_drain(&msix->vector[i]);
}

static bool aligned(uint64_t offset, unsigned len)
{
	return (len == 4 || len == 8) && offset % len == 0;
}

uint64_t msix_table_read(const struct msix *msix, uint64_t offset, unsigned len)
{
	uint64_t index = offset / MSIX_ENTRY_LENGTH;
	unsigned word = offset % MSIX_ENTRY_LENGTH / 4;
	const uint32_t *entry;

	if (!aligned(offset, len) || index >= msix->count)
		return 0;
	entry = msix->vector[index].entry;
	return len == 8 ? (uint64_t)entry[word + 1] << 32 | entry[word] : entry[word];
}

void msix_table_write(struct msix *msix, uint64_t offset, uint64_t value, unsigned len)
{
	uint64_t index = offset / MSIX_ENTRY_LENGTH;
	unsigned word = offset % MSIX_ENTRY_LENGTH / 4;
	bool message = word < CONTROL;
	struct msix_vector *v;

	if (!aligned(offset, len) || index >= msix->count)
		return;
	v = &msix->vector[index];
	for (; len; len -= 4, value >>= 32, word++)
		store_relaxed(&v->entry[word], (uint32_t)value);
	v->entry[CONTROL] &= PCI_MSIX_ENTRY_CTRL_MASKBIT;

	/* The new message takes the place of one that is attached. */
	if (message)
		vector_detach(msix, v);
	vector_update(msix, v, holds_all(msix));
}

uint64_t msix_pending_read(const struct msix *msix, uint64_t offset, unsigned len)
{
	uint64_t bits = 0;

	if (!aligned(offset, len))
		return 0;
	for (unsigned i = 0; i < 8 * len && 8 * offset + i < msix->count; i++)
		if (vector_pending(&msix->vector[8 * offset + i]))
			bits |= 1ULL << i;
	return bits;
}

int msix_init(struct msix *msix, struct pci_device *dev, unsigned count, unsigned bar,
	      uint32_t table, uint32_t pending, const struct msi_port *port)
{
	struct {
		uint8_t id, next;
		uint16_t control;
		uint32_t table, pending;
	} body = { .control = (uint16_t)(count - 1), .table = table | bar,
		   .pending = pending | bar },
	  writable = { .control = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL };

	*msix = (struct msix){ .dev = dev, .port = *port };
	msix->vector = calloc(count, sizeof(*msix->vector));
	if (!msix->vector)
		return -ENOMEM;
	for (; msix->count < count; msix->count++) {
		struct msix_vector *v = &msix->vector[msix->count];

		v->handle = -1;
		v->held = is_off;
		v->entry[CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
		v->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (v->eventfd < 0) {
			int ret = -errno;

			msix_destroy(msix);
			return ret;
		}
	}
	msix->capability = pci_device_add_capability(dev, PCI_CAP_ID_MSIX, &body, &writable,
						     sizeof(body));
	return 0;
}

void msix_destroy(struct msix *msix)
{
	for (unsigned i = 0; i < msix->count; i++) {
		vector_detach(msix, &msix->vector[i]);
		close(msix->vector[i].eventfd);
	}
	free(msix->vector);
	*msix = (struct msix){ .dev = msix->dev };
}
