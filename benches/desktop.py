"""Measures a desktop of a session's own, a terminal at 1280x720: what it costs at rest, and how long
a key takes to be seen.

usage: desktop.py PROGRAMS SECONDS PRESSES

PROGRAMS is the folder of a release build. The desktop rests for so many SECONDS, without sound; then
the stock client presses a key so many times, a program in the terminal changes its colour with each,
and the client decodes pictures until it sees that. All of it is on this machine and has one clock.
Exit status 1 says that the client did not stay until the end, or that rest costs more than it may.
"""

import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
from stream import (
    SETTLE_S, TESTS, Daemon, bounded, end_client, line, stages, start_client, wait_for,
)

MODE = "1280x720"
IDLE_MAX = 0.05


def family(pid):
    """The process and all that it started, with what each has taken of the processor, in seconds."""
    parents, taken = {}, {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    name, rest = re.fullmatch(r"\d+ \((.*)\) (.*)\n", file.read(), re.S).groups()
                times = 0
                for task in os.listdir(f"/proc/{entry}/task"):
                    with open(f"/proc/{entry}/task/{task}/schedstat") as file:
                        times += int(file.read().split()[0])
            except OSError:
                continue
            parents[int(entry)] = int(rest.split()[1])
            taken[int(entry)] = (name, times / 1e9)
    found = {pid}
    while more := {it for it, parent in parents.items() if parent in found} - found:
        found |= more
    return {it: taken[it] for it in found if it in taken}


def rest(daemon, identity, seconds):
    """What an idle desktop costs, and what its client gets. Returns the cost, in seconds a second."""
    daemon.start()
    client = start_client(identity, MODE, seconds + SETTLE_S + 2)
    wait_for("a session", lambda: daemon.has_thread("pf-frame"))
    time.sleep(SETTLE_S)
    before, began = family(daemon.process.pid), time.monotonic()
    time.sleep(seconds)
    after, passed = family(daemon.process.pid), time.monotonic() - began
    report = end_client(daemon, client)
    daemon.stop()
    costs = {}
    for pid, (name, taken) in after.items():
        share = (taken - before.get(pid, (name, 0))[1]) / passed
        costs[name] = costs.get(name, 0) + share
    video = report["video"]
    print(f"\n== a desktop at rest, {MODE}, for {passed:.0f} s")
    for name, share in sorted(costs.items(), key=lambda it: -it[1]):
        line(f"CPU, {name}", f"{share:.4f} s/s")
    cost = sum(costs.values())
    bounded("CPU, all of the session", cost, IDLE_MAX, "{:.4f}", "s/s")
    line("frames a second", f"{video['per_second']}")
    line("bits a second", f"{video['kbps']} kbit/s")
    line("gaps", f"{len(video['missing_numbers'])}")
    return cost


def press(daemon, identity, count, read):
    """From the key to the pixel, and who takes how much of that."""
    daemon.start()
    report = end_client(daemon, start_client(identity, MODE, 60, "--press", str(count)))
    stage = stages(daemon)
    daemon.stop()
    with open(read) as file:
        read_us = [int(it) for it in file]
    presses = np.array(report["presses"], float)
    if len(presses) != count or len(read_us) < count:
        raise SystemExit(f"{len(presses)} of {count} presses seen, {len(read_us)} read")
    sent, received, decoded, host = presses.T / 1000
    read_ms = np.array(read_us[:count]) / 1000
    print(f"\n== a key to a pixel, {MODE}, {count} times")
    shares = [
        ("key to pixel", decoded - sent),
        ("  sent to read by the program", read_ms - sent),
        ("  program and compositor", received - host - read_ms),
        ("  captured to sent", host),
        ("  received to decoded", decoded - received),
    ]
    for name, values in shares:
        p50, p99 = np.percentile(values, [50, 99])
        line(name, f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, mean {values.mean():.1f} ms")
    for name, times in stage.items():
        line(f"    stage {name}, p50/p95/p99", "/".join(f"{it:.3f}" for it in times) + " ms")


def main():
    programs, seconds, count = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as identity:
        os.chmod(folder, 0o755)
        terminal = "Command foot --config=/dev/null bash"
        script, read = f"{folder}/keys.sh", f"{folder}/read"
        subprocess.run(["install", "-m755", f"{TESTS}/keys.sh", script], check=True)
        desktop = ["Display private", "LingerTime 0s", "App Desktop"]
        daemon = Daemon(programs, folder, [*desktop, terminal])
        try:
            daemon.start()
            daemon.pair(identity)
            daemon.stop()
            cost = rest(daemon, identity, int(seconds))
            daemon.lines = [*desktop, f"{terminal} {script} {read}"]
            press(daemon, identity, int(count), read)
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.stop()
    if cost > IDLE_MAX:
        raise SystemExit(f"a desktop at rest costs {cost:.4f} s/s, at most {IDLE_MAX} are allowed")


if __name__ == "__main__":
    main()
