// SPDX-License-Identifier: BSD-2-Clause
#include "hw/irq_line.h"

void irq_line_init(struct irq_line *line, unsigned gsi, const struct irq_line_ops *ops,
		   void *opaque)
{
	*line = (struct irq_line){ .gsi = gsi, .ops = ops, .opaque = opaque };
	pthread_mutex_init(&line->lock, NULL);
}

void irq_line_destroy(struct irq_line *line)
{
	pthread_mutex_destroy(&line->lock);
}

void irq_source_init(struct irq_source *source, struct irq_line *line,
		     bool (*asserted)(void *opaque), void *opaque)
{
	*source = (struct irq_source){
		.line = line,
		.asserted = asserted,
		.opaque = opaque,
	};
}

void irq_source_update(struct irq_source *source)
{
	struct irq_line *line = source->line;
	bool level;

	pthread_mutex_lock(&line->lock);
	level = source->asserted(source->opaque);
	if (level != source->level) {
		source->level = level;
		line->asserted += level ? 1 : -1;
		if (line->asserted == (level ? 1 : 0))
			line->ops->set(line->opaque, line->gsi, level);
	}
	pthread_mutex_unlock(&line->lock);
}
