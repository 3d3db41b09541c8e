// SPDX-License-Identifier: BSD-2-Clause
#include "hw/uart.h"

#include <string.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH, FCR = IIR };

#define RTS_OUT2 0x0a
#define LOOP 0x10
#define FIFOS_ON 0x01
#define IDLE 0x60 /* of LSR: THR and transmitter empty */

/* The other end: bytes to be read, bytes written, room for more. */
static struct {
	char in[64];
	size_t in_len;
	char out[64];
	size_t out_len;
	size_t out_room;
} peer;

static bool line_level;
static struct irq_line line;
static struct uart *uart;

static size_t peer_read(void *opaque, uint8_t *buf, size_t len)
{
	(void)opaque;
	len = min(len, peer.in_len);
	memcpy(buf, peer.in, len);
	peer.in_len -= len;
	memmove(peer.in, peer.in + len, peer.in_len);
	return len;
}

static size_t peer_write(void *opaque, const uint8_t *buf, size_t len)
{
	(void)opaque;
	len = min(len, peer.out_room - peer.out_len);
	memcpy(peer.out + peer.out_len, buf, len);
	peer.out_len += len;
	return len;
}

static void set_line(void *opaque, unsigned gsi, bool level)
{
	(void)opaque;
	ck_assert_uint_eq(gsi, 4);
	line_level = level;
}

static const struct byte_stream_ops peer_ops = { .read = peer_read, .write = peer_write };
static const struct irq_line_ops line_ops = { .set = set_line };

static uint64_t in(unsigned reg)
{
	return uart_bus_ops.read(uart, reg, 1);
}

static void out(unsigned reg, uint8_t value)
{
	uart_bus_ops.write(uart, reg, value, 1);
}

static void type(const char *text)
{
	memcpy(peer.in + peer.in_len, text, strlen(text));
	peer.in_len += strlen(text);
	uart_input_ready(uart);
}

/* Reads while DR says that there is something. */
static const char *drain(void)
{
	static char text[sizeof(peer.in) + 1];
	size_t n = 0;

	while (in(LSR) & 0x01 && n < sizeof(peer.in))
		text[n++] = in(DATA);
	text[n] = '\0';
	return text;
}

static void ck_assert_out(const char *text)
{
	ck_assert_uint_eq(peer.out_len, strlen(text));
	ck_assert_mem_eq(peer.out, text, peer.out_len);
}

static void setup(void)
{
	const struct byte_stream stream = { .ops = &peer_ops };

	memset(&peer, 0, sizeof(peer));
	peer.out_room = sizeof(peer.out);
	line_level = false;
	irq_line_init(&line, 4, &line_ops, NULL);
	uart = uart_create(&line, &stream);
	ck_assert_ptr_nonnull(uart);
}

static void teardown(void)
{
	uart_destroy(uart);
	irq_line_destroy(&line);
}

START_TEST(power_on)
{
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_uint_eq(in(LCR), 0);
	ck_assert_uint_eq(in(MCR), 0);
	ck_assert_uint_eq(in(LSR), IDLE);
	ck_assert_uint_eq(in(MSR), 0xb0);
	ck_assert_uint_eq(in(DATA), 0);
	ck_assert(!line_level);
}
END_TEST

START_TEST(plain_registers)
{
	out(SCRATCH, 0xa5);
	ck_assert_uint_eq(in(SCRATCH), 0xa5);
	/* Bits that a 16550A does not have read 0: later chips have them. */
	out(IER, 0xf0);
	ck_assert_uint_eq(in(IER), 0);
	out(MCR, 0xe0);
	ck_assert_uint_eq(in(MCR), 0);
	out(LSR, 0xff);
	ck_assert_uint_eq(in(LSR), IDLE);
}
END_TEST

START_TEST(divisor)
{
	out(IER, 0x02);
	out(LCR, 0x83);
	out(0, 0x34);
	out(1, 0x12);
	ck_assert_uint_eq(in(0), 0x34);
	ck_assert_uint_eq(in(1), 0x12);
	out(LCR, 0x03);
	ck_assert_uint_eq(in(IER), 0x02);
	ck_assert_out("");
}
END_TEST

START_TEST(wide_access)
{
	/* Bytes over consecutive registers: LCR, MCR; then LSR, MSR, scratch. */
	uart_bus_ops.write(uart, LCR, 0x0a1b, 2);
	ck_assert_uint_eq(in(LCR), 0x1b);
	ck_assert_uint_eq(in(MCR), 0x0a);
	out(SCRATCH, 0x77);
	ck_assert_uint_eq(uart_bus_ops.read(uart, LSR, 2), 0xb060);
	ck_assert_uint_eq(uart_bus_ops.read(uart, MCR, 4), 0x77b0600a);
	/* All eight: a byte sent, and FIFOs on by register 2. */
	uart_bus_ops.write(uart, 0, 0x5500000a1b010041, 8);
	ck_assert_out("A");
	ck_assert_uint_eq(in(IIR), 0xc1);
	ck_assert_uint_eq(in(SCRATCH), 0x55);
}
END_TEST

START_TEST(transmit)
{
	out(DATA, 'a');
	out(DATA, 'b');
	ck_assert_out("ab");
	ck_assert_uint_eq(in(LSR), IDLE);
}
END_TEST

START_TEST(transmit_stalled)
{
	unsigned i;

	out(FCR, FIFOS_ON);
	peer.out_room = 0;
	for (i = 0; i < 16; i++)
		out(DATA, 'a' + i);
	ck_assert_uint_eq(in(LSR), 0);
	out(DATA, '!'); /* lost: there is no room */

	peer.out_room = 4;
	uart_output_ready(uart);
	ck_assert_out("abcd");
	ck_assert_uint_eq(in(LSR), 0);
	peer.out_room = sizeof(peer.out);
	uart_output_ready(uart);
	ck_assert_out("abcdefghijklmnop");
	ck_assert_uint_eq(in(LSR), IDLE);
}
END_TEST

START_TEST(transmit_stalled_without_fifos)
{
	peer.out_room = 0;
	out(DATA, 'a');
	ck_assert_uint_eq(in(LSR), 0);
	out(DATA, 'b');
	peer.out_room = 2;
	uart_output_ready(uart);
	ck_assert_out("a");
}
END_TEST

START_TEST(transmit_fifo_clear)
{
	out(MCR, RTS_OUT2);
	out(FCR, FIFOS_ON);
	peer.out_room = 0;
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR), 0xc2);
	out(DATA, 'a');
	ck_assert(!line_level);
	out(FCR, FIFOS_ON | 0x04);
	ck_assert_uint_eq(in(LSR), IDLE);
	ck_assert(line_level);
	peer.out_room = 1;
	uart_output_ready(uart);
	ck_assert_out("");
}
END_TEST

START_TEST(thr_empty_interrupt)
{
	out(MCR, RTS_OUT2);
	out(IER, 0x02); /* raised by enabling it */
	ck_assert(line_level);
	ck_assert_uint_eq(in(IIR), 0x02); /* and cleared by reading it */
	ck_assert(!line_level);
	ck_assert_uint_eq(in(IIR), 0x01);
	out(IER, 0x02); /* not by leaving it enabled */
	ck_assert(!line_level);
	out(IER, 0x00);
	out(IER, 0x02);
	ck_assert(line_level);
	out(IER, 0x00);
	ck_assert(!line_level);
	out(IER, 0x02);

	peer.out_room = 0;
	out(DATA, 'a'); /* cleared by writing */
	ck_assert(!line_level);
	out(IER, 0x00);
	out(IER, 0x02);
	ck_assert(!line_level);
	peer.out_room = 1;
	uart_output_ready(uart);
	ck_assert(line_level);
	ck_assert_uint_eq(in(IIR), 0x02);
}
END_TEST

START_TEST(out2_gates_interrupt)
{
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR), 0x02);
	ck_assert(!line_level);
	out(IER, 0x00);
	out(IER, 0x02);
	out(MCR, 0x08);
	ck_assert(line_level);
	out(MCR, 0x08 | LOOP);
	ck_assert(!line_level);
	out(MCR, 0x00);
	ck_assert(!line_level);
}
END_TEST

START_TEST(receive)
{
	out(MCR, RTS_OUT2);
	out(IER, 0x01);
	type("hello");
	ck_assert_uint_eq(peer.in_len, 4); /* no FIFOs: one byte */
	ck_assert(line_level);
	ck_assert_uint_eq(in(IIR), 0x04);
	ck_assert_str_eq(drain(), "hello");
	ck_assert(!line_level);
	ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

START_TEST(receive_trigger)
{
	static const unsigned level[] = { 1, 4, 8, 14 };
	unsigned i;

	out(FCR, FIFOS_ON | _i << 6);
	out(MCR, RTS_OUT2);
	out(IER, 0x01);
	for (i = 1; i <= 16; i++) {
		type("x");
		/* Below the trigger: the timeout, for nothing follows. */
		ck_assert_uint_eq(in(IIR), i < level[_i] ? 0xcc : 0xc4);
		ck_assert(line_level);
	}
	type("yz"); /* wait for room */
	ck_assert_uint_eq(peer.in_len, 2);
	ck_assert_str_eq(drain(), "xxxxxxxxxxxxxxxxyz");
	ck_assert(!line_level);
	ck_assert_uint_eq(in(LSR), IDLE);
}
END_TEST

START_TEST(receive_waits_for_rts)
{
	type("early");
	ck_assert_uint_eq(in(LSR), IDLE);
	/* What a driver does to find the chip does not eat input. */
	out(FCR, FIFOS_ON);
	out(FCR, FIFOS_ON | 0x06);
	ck_assert_uint_eq(in(DATA), 0);
	out(MCR, RTS_OUT2 | LOOP);
	ck_assert_uint_eq(in(LSR), IDLE);
	out(MCR, RTS_OUT2);
	ck_assert_str_eq(drain(), "early");
}
END_TEST

START_TEST(receive_interrupt_is_enough)
{
	type("early");
	out(IER, 0x01);
	ck_assert_str_eq(drain(), "early");
}
END_TEST

START_TEST(receive_fifo_clear)
{
	out(FCR, FIFOS_ON);
	out(MCR, RTS_OUT2);
	type("0123456789abcdefgh");
	out(FCR, FIFOS_ON);
	out(FCR, 0x02); /* without the enable bit: turns the FIFOs off */
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_str_eq(drain(), "gh");
	type("ij");
	out(FCR, 0x02); /* off already, so not a clear */
	ck_assert_str_eq(drain(), "ij");
	out(FCR, FIFOS_ON);
	type("kl");
	out(FCR, FIFOS_ON | 0x02);
	ck_assert_str_eq(drain(), "");
}
END_TEST

START_TEST(loopback_data)
{
	out(MCR, RTS_OUT2 | LOOP);
	out(IER, 0x05);
	type("from outside");
	out(DATA, 'a');
	ck_assert_out("");
	ck_assert_uint_eq(in(LSR), IDLE | 0x01);
	out(DATA, 'b'); /* replaces it */
	ck_assert_uint_eq(in(IIR), 0x06);
	ck_assert_uint_eq(in(LSR), IDLE | 0x03);
	ck_assert_uint_eq(in(LSR), IDLE | 0x01);
	ck_assert_uint_eq(in(IIR), 0x04);
	ck_assert_uint_eq(in(DATA), 'b');
	out(MCR, RTS_OUT2);
	ck_assert_str_eq(drain(), "from outside");
}
END_TEST

START_TEST(loopback_fifo)
{
	unsigned i;

	out(FCR, FIFOS_ON);
	out(MCR, LOOP);
	for (i = 0; i < 17; i++)
		out(DATA, 'a' + i);
	ck_assert_uint_eq(in(LSR), IDLE | 0x03);
	ck_assert_str_eq(drain(), "abcdefghijklmnop");
}
END_TEST

START_TEST(loopback_modem)
{
	/* Linux takes the port for absent unless this reads 0x90. */
	out(MCR, LOOP | RTS_OUT2);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x90);
	/* Each output in turn: DTR, RTS, OUT1, OUT2. */
	out(MCR, LOOP | 0x01);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x20);
	out(MCR, LOOP | 0x02);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x10);
	out(MCR, LOOP | 0x04);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x40);
	out(MCR, LOOP | 0x08);
	ck_assert_uint_eq(in(MSR) & 0xf0, 0x80);
}
END_TEST

START_TEST(modem_deltas)
{
	out(MCR, LOOP);
	ck_assert_uint_eq(in(MSR), 0x0b);
	ck_assert_uint_eq(in(MSR), 0x00);
	out(MCR, LOOP | 0x04);
	ck_assert_uint_eq(in(MSR), 0x40); /* ring: the start does not count */
	out(MCR, LOOP | 0x01);
	ck_assert_uint_eq(in(MSR), 0x26); /* its end does */
	out(MCR, LOOP | 0x0b);
	out(MCR, LOOP | 0x01);
	ck_assert_uint_eq(in(MSR), 0x29); /* there and back is a change */
	out(MCR, LOOP | 0x0b);
	out(IER, 0x08);
	ck_assert_uint_eq(in(IIR), 0x00);
	in(MSR);
	ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

START_TEST(priority)
{
	out(MCR, LOOP | 0x01);
	out(DATA, 'a');
	out(DATA, 'b');
	out(IER, 0x0f);
	ck_assert_uint_eq(in(IIR), 0x06);
	in(LSR);
	ck_assert_uint_eq(in(IIR), 0x04);
	in(DATA);
	ck_assert_uint_eq(in(IIR), 0x02); /* it was not cleared by the others */
	ck_assert_uint_eq(in(IIR), 0x00);
	in(MSR);
	ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("uart");
	TCase *tcase = tcase_create("16550A");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, power_on);
	tcase_add_test(tcase, plain_registers);
	tcase_add_test(tcase, divisor);
	tcase_add_test(tcase, wide_access);
	tcase_add_test(tcase, transmit);
	tcase_add_test(tcase, transmit_stalled);
	tcase_add_test(tcase, transmit_stalled_without_fifos);
	tcase_add_test(tcase, transmit_fifo_clear);
	tcase_add_test(tcase, thr_empty_interrupt);
	tcase_add_test(tcase, out2_gates_interrupt);
	tcase_add_test(tcase, receive);
	tcase_add_loop_test(tcase, receive_trigger, 0, 4);
	tcase_add_test(tcase, receive_waits_for_rts);
	tcase_add_test(tcase, receive_interrupt_is_enough);
	tcase_add_test(tcase, receive_fifo_clear);
	tcase_add_test(tcase, loopback_data);
	tcase_add_test(tcase, loopback_fifo);
	tcase_add_test(tcase, loopback_modem);
	tcase_add_test(tcase, modem_deltas);
	tcase_add_test(tcase, priority);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
