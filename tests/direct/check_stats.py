#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: check_stats.py SCHEMA FILE [OPERATION=REQUESTS]...
#
# FILE is valid, whole and agrees with itself; all queues of its first disk together
# have done so many requests of each OPERATION named, and no other ones, without errors.
# Debian: python3-jsonschema.
import json
import sys

import jsonschema


def check_times(operation):
    times = operation["times_ns"]
    for stage in times.values():
        buckets = stage["buckets"]
        assert sum(count for _, _, count in buckets) == stage["count"]
        assert all(low < high for low, high, _ in buckets)
        assert sum(low * count for low, _, count in buckets) <= stage["sum"]
        assert stage["sum"] <= stage["count"] * stage["max"]
        assert stage["p50"] <= stage["p90"] <= stage["p99"] <= stage["p999"] <= stage["max"]
        assert stage["count"] <= operation["requests"]
    if "submit_to_complete" in times:
        parts = ("pop_to_submit", "submit_to_complete", "complete_to_publish")
        if times["pop_to_publish"]["count"] == times["pop_to_submit"]["count"]:
            assert sum(times[part]["sum"] for part in parts) == times["pop_to_publish"]["sum"]


def main():
    with open(sys.argv[1]) as file:
        schema = json.load(file)
    with open(sys.argv[2]) as file:
        stats = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(stats)
    assert stats["time_us"] == stats["end_time_us"]
    done = {}
    for queue in stats["disks"][0]["queues"]:
        assert queue["interrupts"] <= queue["publishes"]
        for operation in queue["operations"]:
            check_times(operation)
            assert operation["in_flight"] == 0 and operation["errors"] == 0
            if operation["requests"]:
                name = operation["operation"]
                done[name] = done.get(name, 0) + operation["requests"]
    wanted = dict(argument.split("=") for argument in sys.argv[3:])
    assert done == {name: int(count) for name, count in wanted.items()}, (done, wanted)


main()
