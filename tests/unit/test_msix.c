// SPDX-License-Identifier: BSD-2-Clause
#include "hw/msix.h"

#include <string.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/unit.h"

#define VECTORS 70
#define TABLE 0x2000
#define PENDING 0x3000
#define ENABLE PCI_MSIX_FLAGS_ENABLE
#define MASKALL PCI_MSIX_FLAGS_MASKALL
#define ADDR 0xfee00000u

static struct pci_device dev;
static struct msix msix;
static struct fake_msi msi;

static void config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
	(void)pci;
	(void)offset;
	(void)len;
	msix_update(&msix);
}

static const struct pci_device_ops dev_ops = { .config_written = config_written };

static void config_write(unsigned reg, uint64_t value, unsigned len)
{
	pci_config_ops.write(&dev, reg, value, len);
}

static void master(bool on)
{
	config_write(PCI_COMMAND, on ? PCI_COMMAND_MASTER : 0, 2);
}

/* Message Control. */
static void control(uint16_t value)
{
	config_write(msix.capability + PCI_MSIX_FLAGS, value, 2);
}

static void entry_write(unsigned vector, unsigned word, uint32_t value)
{
	msix_table_write(&msix, vector * 16 + word * 4, value, 4);
}

static uint32_t entry_read(unsigned vector, unsigned word)
{
	return (uint32_t)msix_table_read(&msix, vector * 16 + word * 4, 4);
}

static void mask(unsigned vector, bool on)
{
	entry_write(vector, 3, on);
}

static void message(unsigned vector, uint32_t data)
{
	entry_write(vector, 0, ADDR);
	entry_write(vector, 1, 0);
	entry_write(vector, 2, data);
}

static void notify(unsigned vector)
{
	msix_notify(&msix.vector[vector]);
}

static bool pending(unsigned vector)
{
	return msix_pending_read(&msix, vector / 64 * 8, 8) >> vector % 64 & 1;
}

static void setup(void)
{
	static const struct pci_ids ids = { .vendor = 1 };
	const struct msi_port port = { &fake_msi_ops, &msi };

	memset(&msi, 0, sizeof(msi));
	pci_device_init(&dev, &dev_ops, &ids);
	ck_assert_int_eq(msix_init(&msix, &dev, VECTORS, 4, TABLE, PENDING, &port), 0);
}

static void teardown(void)
{
	msix_destroy(&msix);
	ck_assert_uint_eq(msi.attached, 0);
	pci_device_destroy(&dev);
}

/* Everything on but the entries' masks; each entry has its number as data. */
static void ready(void)
{
	unsigned i;

	for (i = 0; i < VECTORS; i++)
		message(i, i);
	master(true);
	control(ENABLE);
}

/* Rows: MSIX-02, MSIX-14 */
START_TEST(power_on)
{
	unsigned cap = msix.capability, i;

	ck_assert_uint_eq(dev.config[cap], PCI_CAP_ID_MSIX);
	ck_assert_uint_eq(pci_config_word(&dev, cap + PCI_MSIX_FLAGS), VECTORS - 1);
	ck_assert_uint_eq(pci_config_dword(&dev, cap + PCI_MSIX_TABLE), TABLE | 4);
	ck_assert_uint_eq(pci_config_dword(&dev, cap + PCI_MSIX_PBA), PENDING | 4);
	ck_assert(!msix_enabled(&msix));
	for (i = 0; i < VECTORS; i++) {
		ck_assert_uint_eq(entry_read(i, 0) | entry_read(i, 1) | entry_read(i, 2), 0);
		ck_assert_uint_eq(entry_read(i, 3), 1);
		ck_assert(!pending(i));
	}
	ck_assert_uint_eq(msi.attaches, 0);
}
END_TEST

START_TEST(capability_mask)
{
	unsigned cap = msix.capability, i;

	for (i = 2; i < 12; i++)
		config_write(cap + i, 0xff, 1);
	ck_assert_uint_eq(pci_config_word(&dev, cap + PCI_MSIX_FLAGS),
			  ENABLE | MASKALL | (VECTORS - 1));
	ck_assert_uint_eq(pci_config_dword(&dev, cap + PCI_MSIX_TABLE), TABLE | 4);
	ck_assert_uint_eq(pci_config_dword(&dev, cap + PCI_MSIX_PBA), PENDING | 4);
	ck_assert(msix_enabled(&msix));
}
END_TEST

/* Attached exactly while all four conditions hold, in whatever order they come. */
/* Rows: PCI-37, MSIX-12 */
START_TEST(attached_exactly_when)
{
	uint32_t seed = 1;
	unsigned step, on = 0;

	for (step = 0; step < 500; step++) {
		on ^= 1u << fake_random(&seed) % 4;
		master(on & 1);
		control((on & 2 ? ENABLE : 0) | (on & 4 ? 0 : MASKALL));
		mask(3, !(on & 8));
		ck_assert_uint_eq(msi.attached, on == 15);
		ck_assert_int_eq(msix.vector[3].handle >= 0, on == 15);
		ck_assert_uint_eq(msix_enabled(&msix), (on & 2) != 0);
	}
}
END_TEST

START_TEST(sent)
{
	ready();
	entry_write(5, 1, 0x12345678);
	entry_write(5, 2, 0x9abcdef0);
	mask(5, false);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	notify(5);
	notify(6);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.addr, 0x12345678fee00000);
	ck_assert_uint_eq(msi.sent.data, 0x9abcdef0);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	ck_assert(!pending(5));
	ck_assert(pending(6));
	/* Under way to the guest is not pending. */
	notify(5);
	ck_assert(!pending(5));
}
END_TEST

/* What holds a message back leaves one pending, however often it is sent. */
static void hold(unsigned how, bool on)
{
	switch (how) {
	case 0:
		mask(65, on);
		break;
	case 1:
		control(on ? ENABLE | MASKALL : ENABLE);
		break;
	case 2:
		control(on ? 0 : ENABLE);
		break;
	case 3:
		master(!on);
		break;
	}
}

static const char *const holds[] = {
	"the MSI-X vector is masked", "all MSI-X vectors are masked", "MSI-X is off",
	"PCI bus mastering is off",
};

/* Rows: PCI-37, MSIX-12, MSIX-18 */
START_TEST(held_back)
{
	unsigned i;

	ready();
	mask(65, false);
	hold((unsigned)_i, true);
	ck_assert_uint_eq(msi.attached, 0);
	ck_assert(!pending(65));
	for (i = 0; i < 5; i++)
		notify(65);
	ck_assert(pending(65));
	ck_assert(pending(65)); /* looking does not take it */
	ck_assert(!pending(64));
	ck_assert_str_eq(msix_held(&msix.vector[65]), holds[_i]);
	ck_assert_ptr_null(msix_held(&msix.vector[64]));
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	hold((unsigned)_i, false);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, 65);
	ck_assert(!pending(65));
	hold((unsigned)_i, true);
	hold((unsigned)_i, false);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
}
END_TEST

/* Rows: MSIX-13 */
START_TEST(message_changed_while_masked)
{
	ready();
	notify(0);
	entry_write(0, 2, 1234);
	ck_assert(pending(0));
	mask(0, false);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, 1234);
}
END_TEST

START_TEST(message_changed_while_unmasked)
{
	ready();
	mask(0, false);
	mask(1, false);
	notify(0);
	entry_write(0, 2, 77); /* not yet sent: not lost */
	ck_assert_uint_eq(msi.attached, 2);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, 77);
	msix_table_write(&msix, 0, 0x1122334455667788, 8);
	notify(0);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.addr, 0x1122334455667788);
	/* Data and mask in one. */
	msix_table_write(&msix, 8, 0x0000000100000042, 8);
	ck_assert_uint_eq(msi.attached, 1);
	notify(0);
	ck_assert(pending(0));
	msix_table_write(&msix, 8, 0x43, 8);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, 0x43);
}
END_TEST

/* A write that changes nothing about it does not detach: a detach is slow. */
START_TEST(no_needless_attach)
{
	unsigned i;

	ready();
	for (i = 0; i < VECTORS; i++)
		mask(i, false);
	ck_assert_uint_eq(msi.attaches, VECTORS);
	for (i = 0; i < VECTORS; i++)
		mask(i, false);
	control(ENABLE);
	master(true);
	config_write(PCI_CACHE_LINE_SIZE, 1, 1);
	mask(7, true);
	mask(7, false);
	ck_assert_uint_eq(msi.attaches, VECTORS + 1);
	ck_assert_uint_eq(msi.attached, VECTORS);
}
END_TEST

/* Rows: MSIX-14 */
START_TEST(drain)
{
	ready();
	mask(1, false);
	notify(0);
	notify(1);
	notify(69);
	msix_drain(&msix);
	msix_drain(&msix);
	ck_assert(!pending(0));
	ck_assert(!pending(69));
	mask(0, false);
	mask(69, false);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
	/* Table and enable bit are as they were. */
	ck_assert(msix_enabled(&msix));
	ck_assert_uint_eq(entry_read(69, 2), 69);
	notify(69);
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
}
END_TEST

START_TEST(message_that_cannot_be_routed)
{
	ready();
	msi.refuse = true;
	mask(2, false);
	ck_assert_uint_eq(msi.attached, 0);
	notify(2);
	ck_assert(pending(2));
	mask(2, true);
	mask(2, false);
	ck_assert(pending(2));
	ck_assert_str_eq(msix_held(&msix.vector[2]), "the MSI-X vector's message cannot be sent");
	msi.refuse = false;
	entry_write(2, 2, 5); /* a better message */
	ck_assert_uint_eq(fake_msi_run(&msi), 1);
	ck_assert_uint_eq(msi.sent.data, 5);
}
END_TEST

/* Rows: MSIX-15 */
START_TEST(table_widths)
{
	unsigned len, at;

	msix_table_write(&msix, 16, 0x8877665544332211, 8);
	msix_table_write(&msix, 24, 0xffffffffccbbaa99, 8);
	ck_assert_uint_eq(entry_read(1, 0), 0x44332211);
	ck_assert_uint_eq(entry_read(1, 1), 0x88776655);
	ck_assert_uint_eq(entry_read(1, 2), 0xccbbaa99);
	ck_assert_uint_eq(entry_read(1, 3), 1); /* reserved bits stay 0 */
	ck_assert_uint_eq(msix_table_read(&msix, 16, 8), 0x8877665544332211);
	ck_assert_uint_eq(msix_table_read(&msix, 24, 8), 0x00000001ccbbaa99);
	for (at = 8; at < 40; at++) {
		for (len = 1; len <= 8; len++) {
			if ((len == 4 || len == 8) && at % len == 0)
				continue;
			ck_assert_uint_eq(msix_table_read(&msix, at, len), 0);
			msix_table_write(&msix, at, 0, len);
		}
	}
	ck_assert_uint_eq(msix_table_read(&msix, 16, 8), 0x8877665544332211);
	ck_assert_uint_eq(msix_table_read(&msix, 24, 8), 0x00000001ccbbaa99);
	ck_assert_uint_eq(entry_read(0, 3), 1);
	ck_assert_uint_eq(entry_read(2, 3), 1);
}
END_TEST

START_TEST(beyond_the_table)
{
	static const uint64_t at[] = {
		VECTORS * 16, VECTORS * 16 + 8, 0xff8, 0x1000, 1ULL << 36, -8ULL,
	};
	unsigned i;

	for (i = 0; i < array_size(at); i++) {
		msix_table_write(&msix, at[i], 0, 8);
		msix_table_write(&msix, at[i], 0, 4);
		ck_assert_uint_eq(msix_table_read(&msix, at[i], 8), 0);
		ck_assert_uint_eq(msix_table_read(&msix, at[i], 4), 0);
	}
	for (i = 0; i < VECTORS; i++)
		ck_assert_uint_eq(entry_read(i, 3), 1);
}
END_TEST

/* Rows: MSIX-15 */
START_TEST(pending_bits)
{
	notify(0);
	notify(31);
	notify(33);
	notify(63);
	notify(64);
	notify(69);
	ck_assert_uint_eq(msix_pending_read(&msix, 0, 8), 0x8000000280000001);
	ck_assert_uint_eq(msix_pending_read(&msix, 0, 4), 0x80000001);
	ck_assert_uint_eq(msix_pending_read(&msix, 4, 4), 0x80000002);
	ck_assert_uint_eq(msix_pending_read(&msix, 8, 8), 0x21);
	ck_assert_uint_eq(msix_pending_read(&msix, 8, 4), 0x21);
	ck_assert_uint_eq(msix_pending_read(&msix, 12, 4), 0);
	ck_assert_uint_eq(msix_pending_read(&msix, 16, 8), 0);
	ck_assert_uint_eq(msix_pending_read(&msix, 0xff8, 8), 0);
	ck_assert_uint_eq(msix_pending_read(&msix, 4, 8), 0);
	ck_assert_uint_eq(msix_pending_read(&msix, 0, 1), 0);
	ck_assert_uint_eq(msix_pending_read(&msix, 0, 2), 0);
	ck_assert_uint_eq(msix_pending_read(&msix, 2, 4), 0);
}
END_TEST

/* The sizes at both ends; a vector each, and no descriptor left behind. */
/* Rows: MSIX-02 */
START_TEST(sizes)
{
	static const unsigned counts[] = { 1, 2, 64, 65, 256 };
	static const struct pci_ids ids = { .vendor = 1 };
	const struct msi_port port = { &fake_msi_ops, &msi };
	struct pci_device other;
	struct msix m;
	unsigned i;
	int fd = dup(0);

	close(fd);
	for (i = 0; i < array_size(counts); i++) {
		unsigned last = counts[i] - 1;

		pci_device_init(&other, &dev_ops, &ids);
		ck_assert_int_eq(msix_init(&m, &other, counts[i], 0, 0, 0x1000, &port), 0);
		ck_assert_uint_eq(pci_config_word(&other, m.capability + PCI_MSIX_FLAGS), last);
		msix_notify(&m.vector[last]);
		ck_assert_uint_eq(msix_pending_read(&m, last / 64 * 8, 8), 1ULL << last % 64);
		msix_destroy(&m);
		pci_device_destroy(&other);
	}
	ck_assert_int_eq(dup(0), fd);
	close(fd);
}
END_TEST

/* --- Against a model: nothing is lost, nothing is sent twice --- */

struct model {
	bool masked[VECTORS], signalled[VECTORS];
	bool enabled, all_masked, master;
};

static void check(const struct model *m)
{
	unsigned attached = 0, messages = 0, i;
	bool sends = m->enabled && !m->all_masked && m->master;
	const uint64_t bits[] = { msix_pending_read(&msix, 0, 8), msix_pending_read(&msix, 8, 8) };

	for (i = 0; i < VECTORS; i++) {
		bool open = sends && !m->masked[i];
		bool off = !m->enabled || !m->master;
		struct msi_message message;

		ck_assert_int_eq(msix_look(&msix.vector[i], &message),
				 off ? MSIX_OFF : open ? MSIX_SENT : MSIX_MASKED);
		ck_assert_uint_eq(message.data, entry_read(i, 2));
		attached += open;
		messages += open && m->signalled[i];
		ck_assert_uint_eq(bits[i / 64] >> i % 64 & 1, m->signalled[i] && !open);
	}
	ck_assert_uint_eq(msi.attached, attached);
	ck_assert_uint_eq(fake_msi_run(&msi), messages);
}

/* Rows: MSIX-12 */
START_TEST(against_model)
{
	struct model m = { .enabled = true, .master = true };
	uint32_t seed = (uint32_t)_i;
	unsigned step, v;

	ready();
	memset(m.masked, true, sizeof(m.masked));
	for (step = 0; step < 1000; step++) {
		bool on = fake_random(&seed) % 2;

		v = fake_random(&seed) % VECTORS;
		switch (fake_random(&seed) % 8) {
		case 0:
			m.enabled = on;
			control((m.enabled ? ENABLE : 0) | (m.all_masked ? MASKALL : 0));
			break;
		case 1:
			m.all_masked = on;
			control((m.enabled ? ENABLE : 0) | (m.all_masked ? MASKALL : 0));
			break;
		case 2:
			m.master = on;
			master(on);
			break;
		case 3:
		case 4:
			m.masked[v] = on;
			mask(v, on);
			break;
		case 5:
			entry_write(v, 2, fake_random(&seed));
			break;
		default:
			m.signalled[v] = true;
			notify(v);
		}
		check(&m);
		for (v = 0; v < VECTORS; v++)
			if (m.enabled && !m.all_masked && m.master && !m.masked[v])
				m.signalled[v] = false;
	}
}
END_TEST

/* --- Signals from other threads during a storm of masking --- */

static unsigned signalled; /* atomic */
static bool storm;         /* atomic */

static void *signal_vectors(void *opaque)
{
	struct msi_message message;

	(void)opaque;
	while (load_relaxed(&storm)) {
		msix_look(&msix.vector[0], &message);
		__atomic_fetch_add(&signalled, 1, __ATOMIC_RELAXED);
		notify(0);
		notify(1);
	}
	return NULL;
}

START_TEST(masking_storm)
{
	pthread_t thread;
	unsigned messages = 0, step;

	ready();
	storm = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, signal_vectors, NULL), 0);
	for (step = 0; step < 20000 || load_relaxed(&signalled) < 10; step++) {
		mask(step % 2, step & 2);
		control(step & 8 ? ENABLE : ENABLE | MASKALL);
		messages += fake_msi_run(&msi);
	}
	store_relaxed(&storm, false);
	pthread_join(thread, NULL);
	ck_assert_uint_le(messages, 2 * signalled);

	/* Whatever is held back now comes out as one message each. */
	control(ENABLE);
	mask(0, false);
	mask(1, false);
	fake_msi_run(&msi);
	notify(0);
	notify(1);
	ck_assert_uint_eq(fake_msi_run(&msi), 2);
	ck_assert_uint_eq(fake_msi_run(&msi), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("msix");
	TCase *tcase = tcase_create("msix");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, power_on);
	tcase_add_test(tcase, capability_mask);
	tcase_add_test(tcase, attached_exactly_when);
	tcase_add_test(tcase, sent);
	tcase_add_loop_test(tcase, held_back, 0, 4);
	tcase_add_test(tcase, message_changed_while_masked);
	tcase_add_test(tcase, message_changed_while_unmasked);
	tcase_add_test(tcase, no_needless_attach);
	tcase_add_test(tcase, drain);
	tcase_add_test(tcase, message_that_cannot_be_routed);
	tcase_add_test(tcase, table_widths);
	tcase_add_test(tcase, beyond_the_table);
	tcase_add_test(tcase, pending_bits);
	tcase_add_test(tcase, sizes);
	tcase_add_loop_test(tcase, against_model, 0, 4);
	tcase_add_test(tcase, masking_storm);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
