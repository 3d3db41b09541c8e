// SPDX-License-Identifier: BSD-2-Clause
#include "hw/uart.h"

#include <stdlib.h>
#include <string.h>

/* Registers.  With LCR_DLAB set, 0 and 1 are the divisor. */
#define REG_DATA 0 /* receiver buffer, transmitter holding */
#define REG_IER 1
#define REG_IIR 2 /* read */
#define REG_FCR 2 /* write */
#define REG_LCR 3
#define REG_MCR 4
#define REG_LSR 5
#define REG_MSR 6
#define REG_SCRATCH 7

#define IER_RECEIVE 0x01
#define IER_THR_EMPTY 0x02
#define IER_LINE_STATUS 0x04
#define IER_MODEM 0x08
#define IER_MASK 0x0f

#define IIR_MODEM 0x00
#define IIR_NONE 0x01
#define IIR_THR_EMPTY 0x02
#define IIR_RECEIVE 0x04
#define IIR_LINE_STATUS 0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_TRIGGER_SHIFT 6

#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_MASK 0x1f

#define LSR_DATA_READY 0x01
#define LSR_OVERRUN 0x02
#define LSR_THR_EMPTY 0x20
#define LSR_TX_EMPTY 0x40

#define MSR_DELTAS 0x0f
#define MSR_RING_ENDED 0x04
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RING 0x40
#define MSR_DCD 0x80

#define FIFO_SIZE 16

struct fifo {
	uint8_t byte[FIFO_SIZE];
	unsigned count;
};

struct uart {
	struct irq_source irq;
	struct byte_stream stream;
	pthread_mutex_t lock; /* guards all below */
	struct fifo rx;
	struct fifo tx;
	bool thr_empty_pending; /* the one interrupt cause that is a latch */
	bool overrun;
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t msr;
	uint8_t scratch;
	uint8_t divisor[2];
};

static void fifo_drop(struct fifo *fifo, size_t len)
{
	fifo->count -= len;
	memmove(fifo->byte, fifo->byte + len, fifo->count);
}

static unsigned fifo_depth(const struct uart *uart)
{
	return uart->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned rx_trigger(const struct uart *uart)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return uart->fcr & FCR_ENABLE ? level[uart->fcr >> FCR_TRIGGER_SHIFT] : 1;
}

/* The cause of highest priority (PC16550D, table III). */
static uint8_t interrupt_cause(const struct uart *uart)
{
	if (uart->ier & IER_LINE_STATUS && uart->overrun)
		return IIR_LINE_STATUS;
	if (uart->ier & IER_RECEIVE && uart->rx.count >= rx_trigger(uart))
		return IIR_RECEIVE;
	/*
	 * The chip waits four character times for a byte to follow.  Here a
	 * FIFO with room has already taken all that the stream had.
	 */
	if (uart->ier & IER_RECEIVE && uart->rx.count)
		return IIR_TIMEOUT;
	if (uart->ier & IER_THR_EMPTY && uart->thr_empty_pending)
		return IIR_THR_EMPTY;
	if (uart->ier & IER_MODEM && uart->msr & MSR_DELTAS)
		return IIR_MODEM;
	return IIR_NONE;
}

/* A PC gates the interrupt by OUT2, which loopback disconnects from its pin. */
static bool uart_asserted(void *opaque)
{
	struct uart *uart = opaque;
	bool asserted;

	pthread_mutex_lock(&uart->lock);
	asserted = (uart->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 &&
		   interrupt_cause(uart) != IIR_NONE;
	pthread_mutex_unlock(&uart->lock);
	return asserted;
}

static void receive(struct uart *uart)
{
	const struct byte_stream *stream = &uart->stream;
	struct fifo *rx = &uart->rx;
	size_t room = fifo_depth(uart) - rx->count;
	bool listening = uart->mcr & MCR_RTS || uart->ier & IER_RECEIVE;

	if (room && listening && !(uart->mcr & MCR_LOOP))
		rx->count += stream->ops->read(stream->opaque, rx->byte + rx->count, room);
}

static void transmit(struct uart *uart)
{
	const struct byte_stream *stream = &uart->stream;
	struct fifo *tx = &uart->tx;

	if (tx->count == 0)
		return;
	fifo_drop(tx, stream->ops->write(stream->opaque, tx->byte, tx->count));
	if (tx->count == 0)
		uart->thr_empty_pending = true;
}

/* A full FIFO keeps what it has; without FIFOs the new byte replaces the old. */
static void loop_back(struct uart *uart, uint8_t byte)
{
	struct fifo *rx = &uart->rx;

	if (rx->count < fifo_depth(uart)) {
		rx->byte[rx->count++] = byte;
		return;
	}
	uart->overrun = true;
	if (!(uart->fcr & FCR_ENABLE))
		rx->byte[0] = byte;
}

static uint8_t read_data(struct uart *uart)
{
	uint8_t byte;

	if (uart->rx.count == 0)
		return 0;
	byte = uart->rx.byte[0];
	fifo_drop(&uart->rx, 1);
	receive(uart);
	return byte;
}

static void write_data(struct uart *uart, uint8_t byte)
{
	struct fifo *tx = &uart->tx;

	uart->thr_empty_pending = false;
	if (uart->mcr & MCR_LOOP) {
		loop_back(uart, byte);
		uart->thr_empty_pending = tx->count == 0;
		return;
	}
	if (tx->count < fifo_depth(uart))
		tx->byte[tx->count++] = byte;
	transmit(uart);
}

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Drivers start a transmission by enabling the interrupt. */
	if (value & ~uart->ier & IER_THR_EMPTY && uart->tx.count == 0)
		uart->thr_empty_pending = true;
	uart->ier = value & IER_MASK;
	receive(uart);
}

static uint8_t read_iir(struct uart *uart)
{
	uint8_t cause = interrupt_cause(uart);

	if (cause == IIR_THR_EMPTY)
		uart->thr_empty_pending = false;
	return uart->fcr & FCR_ENABLE ? cause | IIR_FIFOS : cause;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	bool toggled = (value ^ uart->fcr) & FCR_ENABLE;

	/* The other bits count only while this one is written as 1. */
	if (!(value & FCR_ENABLE))
		value = 0;
	if (toggled || value & FCR_CLEAR_RX)
		uart->rx.count = 0;
	if ((toggled || value & FCR_CLEAR_TX) && uart->tx.count) {
		uart->tx.count = 0;
		uart->thr_empty_pending = true;
	}
	uart->fcr = value;
	receive(uart);
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t lsr = 0;

	if (uart->rx.count)
		lsr |= LSR_DATA_READY;
	if (uart->overrun)
		lsr |= LSR_OVERRUN;
	if (uart->tx.count == 0)
		lsr |= LSR_THR_EMPTY | LSR_TX_EMPTY;
	uart->overrun = false;
	return lsr;
}

/* What the modem's inputs read: a peer that is always there, or our outputs. */
static uint8_t modem_inputs(const struct uart *uart)
{
	uint8_t inputs = 0;

	if (!(uart->mcr & MCR_LOOP))
		return MSR_DCD | MSR_DSR | MSR_CTS;
	if (uart->mcr & MCR_RTS)
		inputs |= MSR_CTS;
	if (uart->mcr & MCR_DTR)
		inputs |= MSR_DSR;
	if (uart->mcr & MCR_OUT1)
		inputs |= MSR_RING;
	if (uart->mcr & MCR_OUT2)
		inputs |= MSR_DCD;
	return inputs;
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	uint8_t inputs, changed;

	uart->mcr = value & MCR_MASK;
	inputs = modem_inputs(uart);
	changed = (inputs ^ uart->msr) >> 4;
	/* Of the ring indicator only the end counts. */
	if (inputs & MSR_RING)
		changed &= ~MSR_RING_ENDED;
	uart->msr = inputs | (uart->msr & MSR_DELTAS) | changed;
	receive(uart);
}

static uint8_t read_msr(struct uart *uart)
{
	uint8_t msr = uart->msr;

	uart->msr &= ~MSR_DELTAS;
	return msr;
}

static uint8_t read_register(struct uart *uart, unsigned reg)
{
	if (reg <= REG_IER && uart->lcr & LCR_DLAB)
		return uart->divisor[reg];
	switch (reg) {
	case REG_DATA:
		return read_data(uart);
	case REG_IER:
		return uart->ier;
	case REG_IIR:
		return read_iir(uart);
	case REG_LCR:
		return uart->lcr;
	case REG_MCR:
		return uart->mcr;
	case REG_LSR:
		return read_lsr(uart);
	case REG_MSR:
		return read_msr(uart);
	default:
		return uart->scratch;
	}
}

static void write_register(struct uart *uart, unsigned reg, uint8_t value)
{
	if (reg <= REG_IER && uart->lcr & LCR_DLAB) {
		uart->divisor[reg] = value;
		return;
	}
	switch (reg) {
	case REG_DATA:
		write_data(uart, value);
		break;
	case REG_IER:
		write_ier(uart, value);
		break;
	case REG_FCR:
		write_fcr(uart, value);
		break;
	case REG_LCR:
		uart->lcr = value;
		break;
	case REG_MCR:
		write_mcr(uart, value);
		break;
	case REG_SCRATCH:
		uart->scratch = value;
		break;
	}
}

static uint64_t uart_read(void *opaque, uint64_t offset, unsigned len)
{
	struct uart *uart = opaque;
	uint64_t value = 0;
	unsigned i;

	pthread_mutex_lock(&uart->lock);
	for (i = 0; i < len; i++)
		value |= (uint64_t)read_register(uart, offset + i) << (8 * i);
	pthread_mutex_unlock(&uart->lock);
	irq_source_update(&uart->irq);
	return value;
}

static void uart_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct uart *uart = opaque;
	unsigned i;

	pthread_mutex_lock(&uart->lock);
	for (i = 0; i < len; i++)
		write_register(uart, offset + i, value >> (8 * i));
	pthread_mutex_unlock(&uart->lock);
	irq_source_update(&uart->irq);
}

const struct bus_ops uart_bus_ops = {
	.read = uart_read,
	.write = uart_write,
};

void uart_input_ready(struct uart *uart)
{
	pthread_mutex_lock(&uart->lock);
	receive(uart);
	pthread_mutex_unlock(&uart->lock);
	irq_source_update(&uart->irq);
}

void uart_output_ready(struct uart *uart)
{
	pthread_mutex_lock(&uart->lock);
	transmit(uart);
	pthread_mutex_unlock(&uart->lock);
	irq_source_update(&uart->irq);
}

struct uart *uart_create(struct irq_line *line, const struct byte_stream *stream)
{
	struct uart *uart = calloc(1, sizeof(*uart));

	if (!uart)
		return NULL;
	uart->stream = *stream;
	uart->divisor[0] = 1; /* 115200 baud */
	uart->msr = modem_inputs(uart);
	pthread_mutex_init(&uart->lock, NULL);
	irq_source_init(&uart->irq, line, uart_asserted, uart);
	return uart;
}

void uart_destroy(struct uart *uart)
{
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}
