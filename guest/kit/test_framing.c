#include "guest/kit/test.h"
#include <stddef.h>
const struct test framing_tests[] = { { NULL, NULL, NULL, 0 } };
