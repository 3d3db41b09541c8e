#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: check_trace.py SCHEMA REPORT [CONSOLE]
#
# REPORT, of "vmm trace report --json", is valid and agrees with itself; and, where the
# whole run of a bench guest was recorded, with what the guest wrote to CONSOLE
# (guest/kit/bench.h, log=on). Debian: python3-jsonschema.
import collections
import json
import re
import sys

import jsonschema


def same(what, got, expected):
    assert got == expected, f"{what}: {got} instead of {expected}"


def total(items, key):
    return sum(item[key] for item in items)


def check_group(group):
    name = f"disk {group['disk']} {group['operation']}"
    whole = group["whole"]
    layers = group["layers"].values()
    same(f"{name}: wholes", whole["count"], group["requests"])
    same(f"{name}: full and part", total((group["full"], group["part"]), "count"),
         whole["count"])
    same(f"{name}: sum of the layers", total(layers, "total_ns"), whole["total_ns"])
    same(f"{name}: histogram", sum(count for _, _, count in group["buckets"]),
         whole["count"])
    same(f"{name}: doorbells", sum(group["doorbell"].values()), group["requests"])
    same(f"{name}: interrupts", sum(group["interrupt"].values()), group["requests"])
    for times in [whole, group["full"], group["part"], *layers]:
        parts = [times[key + "_ns"] for key in ("min", "p50", "p90", "p99", "p999", "max")]
        assert parts == sorted(parts), f"{name}: {times}"
        assert times["count"] * times["max_ns"] >= times["total_ns"], f"{name}: {times}"


def check_request(request):
    order = list(request["stamps"].values())
    assert order == sorted(order), request
    same("whole of a slow request", request["whole_ns"], order[-1] - order[0])
    same("its doorbell", "doorbell" in request["stamps"], request["doorbell"] == "own")
    same("its interrupt", "interrupt" in request["stamps"], request["interrupt"] == "own")


def check_guest(report, console):
    figure = dict(re.findall(r"(\w+)=(\w+)", re.search(r"^bench: .*", console, re.M)[0]))
    requests, doorbells, interrupts = (
        int(figure[key]) for key in ("requests", "doorbells", "interrupts"))
    recording, groups, queues = report["recording"], report["groups"], report["queues"]
    for key in ("lost_events", "begun_before", "not_ended", "torn", "stray_events",
                "broken_lines", "disordered_stamps"):
        same(key, recording[key], 0)
    same("requests", recording["requests"], requests)
    same("pops", total(queues, "pops"), requests)
    same("pushes", total(queues, "pushes"), requests)
    asked = collections.Counter(
        int(op) for op in re.findall(r"^request: queue=\d+ op=(\d+)", console, re.M))
    same("operations", {group["type"]: group["requests"] for group in groups}, dict(asked))
    same("doorbells", total(queues, "doorbells"), doorbells)
    owned = sum(group["doorbell"]["own"] for group in groups)
    left = doorbells - owned - total(queues, "doorbells_extra") - total(queues, "doorbells_idle")
    assert 0 <= left <= len(queues), f"{left} doorbells are missing"
    # Some of those that were sent come when the guest has one waiting, or has gone on.
    sent = total(queues, "interrupts")
    assert sent >= interrupts, f"{sent} interrupts sent, the guest got {interrupts}"
    if figure["depth"] == "1":
        same("interrupts", sent, interrupts)
    same("interrupts of their own", sum(group["interrupt"]["own"] for group in groups), sent)
    if figure["wait"] == "poll":
        same("suppressed", sum(group["interrupt"]["suppressed"] for group in groups), requests)
    # Each request was rung for, and none waited: each has its own.
    if doorbells == requests and figure["depth"] == "1":
        same("doorbells of their own", owned + total(queues, "doorbells_idle"), requests)


def main():
    with open(sys.argv[1]) as file:
        schema = json.load(file)
    with open(sys.argv[2]) as file:
        report = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(report)
    for group in report["groups"]:
        check_group(group)
    for request in report["slowest"]:
        check_request(request)
    same("requests of all groups", total(report["groups"], "requests"),
         report["recording"]["requests"])
    if len(sys.argv) > 3:
        with open(sys.argv[3]) as file:
            check_guest(report, file.read())


main()
