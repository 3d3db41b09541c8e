# SPDX-License-Identifier: BSD-2-Clause
# make bench-requests: the instructions that a request takes (tests/bench/requests.sh).

BENCH_REQUESTS := $(O)/bench/requests

$(BENCH_REQUESTS): $(OBJ)/tests/bench/requests.o $(UNIT_KIT) $(LIBS)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(FLAGS) $(LDFLAGS) -o $@ $< $(UNIT_KIT) $(LIBS) $(URING_LIBS) $(CHECK_LIBS)
$(OBJ)/tests/bench/%.o: CPPFLAGS += $(CHECK_CFLAGS)

.PHONY: bench-requests
bench-requests: $(BENCH_REQUESTS)
	@tests/deps.sh bench
	@tests/bench/requests.sh $(O)
