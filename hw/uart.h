/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A 16550A serial port (National Semiconductor PC16550D): eight registers,
 * 16-byte FIFOs, one interrupt line behind OUT2 as on a PC.
 *
 * Bytes move at once, whatever the divisor says; when the other end takes no
 * more, the transmitter stays busy, so a stalled reader stalls the guest's
 * serial port and nothing else.  A byte written to a full transmitter is lost.
 *
 * The other end honours RTS: it sends once the guest has raised RTS or enabled
 * the receive interrupt.  What was typed or piped before that stays in the
 * stream, or the FIFO resets of a driver that probes the port would eat it.
 * Input waits in the stream for room in the FIFO, so it does not overrun.
 *
 * Not modelled: breaks, parity and framing errors, the modem's other end (CTS,
 * DSR and DCD are always up), DMA modes.
 *
 * Any thread; the registers have a lock of their own.
 */
#pragma once

#include "hw/bus.h"
#include "hw/byte_stream.h"
#include "hw/irq_line.h"

#define UART_REGISTERS 8

struct uart;

/*
 * @stream is copied; its functions are called with the UART's lock held, so
 * they must not call back.  @line outlives the UART.  NULL without memory.
 */
struct uart *uart_create(struct irq_line *line, const struct byte_stream *stream);
void uart_destroy(struct uart *uart);

/*
 * Registers 0 to 7 as a bus sees them; opaque is the struct uart.  A wider
 * access is one byte after the other over consecutive registers, lowest first,
 * as an 8-bit device on a PC's bus sees it.
 */
extern const struct bus_ops uart_bus_ops;

/* The stream may have bytes to read, or room to write, again. */
void uart_input_ready(struct uart *uart);
void uart_output_ready(struct uart *uart);
