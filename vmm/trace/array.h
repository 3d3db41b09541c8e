/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <stdbool.h>
#include <stdlib.h>

/*
 * Room for one more element behind the @count of @array, which has room for *@room:
 * true, or false where there is no memory and all is as it was.
 */
#define array_make_room(array, room, count)                                          \
	((count) < *(room) || array_enlarge((void **)(array), (room), sizeof(**(array))))

static inline bool array_enlarge(void **array, size_t *room, size_t element)
{
	size_t larger = *room ? *room + *room / 2 : 64;
	void *moved = reallocarray(*array, larger, element);

	if (!moved)
		return false;
	*array = moved;
	*room = larger;
	return true;
}
