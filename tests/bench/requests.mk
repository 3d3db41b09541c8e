# SPDX-License-Identifier: BSD-2-Clause
# The program whose instructions tests/bench/requests.sh counts.

BENCH_REQUESTS := $(O)/bench/requests

$(BENCH_REQUESTS): $(OBJ)/tests/bench/requests.o $(UNIT_KIT) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(UNIT_KIT) $(LIBS) $(URING_LIBS) $(CHECK_LIBS)
$(OBJ)/tests/bench/%.o: CPPFLAGS += $(CHECK_CFLAGS)
