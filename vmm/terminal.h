/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stdin and stdout as the other end of the guest's serial port.
 *
 * Output: the UART's write() writes what can be written at once, and puts the
 * rest into a buffer that the main loop writes out; neither waits for the
 * reader.  A full buffer stalls the UART, so a reader that stops stalls the
 * guest's output and nothing else.  When the reader is gone, output is dropped
 * and the VM goes on.
 *
 * Input: what the main loop reads waits in a buffer for the UART.  From a pipe
 * or a file it reads only as much as fits, and the end of the input is not the
 * end of the VM.  From a terminal it always reads, so that Ctrl-A x works also
 * while the guest takes nothing; then what does not fit is lost, as on a serial
 * line.  Wherever input comes from:
 *
 *   Ctrl-A x       ends the loop with status 0
 *   Ctrl-A Ctrl-A  one Ctrl-A for the guest
 *   Ctrl-A h       a line of help on stderr
 *
 * Ctrl-A and any other key: both are dropped.
 *
 * A process in the background leaves the terminal alone, and looks once a
 * second whether it has come to the foreground.
 *
 * All functions but those of the stream belong to the loop's thread.
 */
#pragma once

#include "hw/byte_stream.h"
#include "vmm/loop.h"

struct terminal;
struct uart;

/*
 * Take @in and @out (0 and 1) into use; they stay open and as they are until
 * terminal_start().  Comes before the first other thread is made: it blocks
 * signals.  Returns 0, or -errno having said why on stderr.
 */
int terminal_create(struct terminal **terminal, struct loop *loop, int in, int out);

/* What the UART reads from and writes to, valid until terminal_destroy(). */
struct byte_stream terminal_stream(struct terminal *terminal);

/*
 * Whom to tell that there is input, and that there is room for output again.
 * Once, before terminal_start().
 */
void terminal_connect(struct terminal *terminal, struct uart *uart,
		      void (*input_ready)(struct uart *uart),
		      void (*output_ready)(struct uart *uart));

/* Go into raw mode if @in is a terminal, and start to read. */
void terminal_start(struct terminal *terminal);

/*
 * Write out what is left, until the reader has taken nothing for a second.
 * For the end: the vCPUs have stopped, the UART is still there.
 */
void terminal_flush(struct terminal *terminal);

/* Put everything back as it was.  Nobody uses the stream any more. */
void terminal_destroy(struct terminal *terminal);
