"""Measures the daemon while it streams to the stock client: a line for each figure, with its goal.

usage: stream.py PROGRAMS SECONDS MODE...

PROGRAMS is the folder of a release build, SECONDS how long each mode (1280x720) is measured for.
The daemon streams its test source over loopback, 60 pictures a second, H.264 by libx264 at
20 Mbit/s, and runs as an ordinary user. Beside some figures is the ratio to the reference: Sunshine
2025.924.154138 on two AMD EPYC processors with AVX-512 and otherwise at rest, 60 Hz of an X server,
the same codec, preset and rate, and another picture. On another machine the ratio means nothing.

Processor times a second are scaled to 60 pictures, of which a busy machine leaves some out. Whole
processes and their threads are measured from outside, the stages of a frame by the daemon. With
perf(1) system calls are counted as well, and what libx264 takes is told apart.
"""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TESTS = os.path.join(os.path.dirname(__file__), "../tests/moonlight")
PORT = 57989
FPS = 60
PIN = "1234"
USER = 65534
GROUPS = [
    ("frame and encoder", ("pf-frame", "x264")), ("packet", ("pf-packet",)),
    ("sound", ("pf-sound",)), ("reactor", ("",)),
]
# Of the reference: processor seconds a second, libx264's share of them, milliseconds of latency.
REFERENCE = {
    "1280x720": {"total": 0.72, "x264": 0.44, "latency": (8.8, 14), "goal": (0.11, 0.55, 7.0, 11)},
    "1920x1080": {"total": 1.14, "x264": 0.64, "latency": (13.5, 26), "goal": (0.18, 0.85, 10, 18)},
}
# The test source has tones, and the reference was measured with silence, which costs less.
REFERENCE_SOUND = 0.054
REFERENCE_SWITCHES, REFERENCE_CALLS = 3300, 127
# Until encoder and client have settled, and until a session that ended is gone.
SETTLE_S = 3
PERF_S = 5
# Sessions that end with their first frames, behind the one that is measured.
LAUNCH_COUNT = 6


def line(name, value, goal="", is_met=None):
    verdict = {None: "", True: "met", False: "MISSED"}[is_met]
    print(f"{name:34} {value:42} {goal:16} {verdict}".rstrip(), flush=True)


def bounded(name, value, limit, form, unit, note=""):
    value_text, limit_text = (f"{it} {unit}".strip() for it in (form.format(value), limit))
    line(name, value_text + note, f"at most {limit_text}", value <= limit)


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (result := condition()):
            return result
        time.sleep(0.02)
    raise SystemExit(f"{what}: not within {seconds} s")


class Daemon:
    """The daemon in a folder of its own, as a user who is not root."""

    def __init__(self, programs, folder, lines=("Capture test",)):
        self.folder, self.process, self.lines = folder, None, lines
        if os.getuid() == 0:
            os.chown(folder, USER, USER)
        for name in ("punktfunkd", "punktfunkctl", "libavenc.so"):
            subprocess.run(["install", "-m755", f"{programs}/{name}", folder], check=True)
        self.log = f"{folder}/log"

    def start(self):
        options = {
            "StateDirectory": f"{self.folder}/state", "RuntimeDirectory": f"{self.folder}/run",
            "GameStreamPort": PORT, "Mdns": "no", "LogLevel": "debug",
        }
        with open(f"{self.folder}/conf", "w") as file:
            file.writelines(f"{name} {value}\n" for name, value in options.items())
            file.writelines(f"{it}\n" for it in self.lines)
        is_root = os.getuid() == 0
        who = {"user": USER, "group": USER, "extra_groups": []} if is_root else {}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [f"{self.folder}/punktfunkd", "-c", f"{self.folder}/conf"], stderr=log,
                cwd="/", env={"PATH": "/usr/bin:/bin"}, **who,
            )
        wait_for("the daemon", lambda: os.path.exists(f"{self.folder}/run/control"))
        time.sleep(1)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        os.path.exists(f"{self.folder}/run/control") and os.unlink(f"{self.folder}/run/control")

    def control(self, *words):
        command = [f"{self.folder}/punktfunkctl", "-s", f"{self.folder}/run/control", *words]
        who = {"user": USER, "group": USER} if os.getuid() == 0 else {}
        return subprocess.run(command, capture_output=True, text=True, **who)

    def pair(self, identity):
        """The stock client pairs, and the administrator types its PIN."""
        client = subprocess.Popen(
            [sys.executable, f"{TESTS}/peer.py", "127.0.0.1", str(PORT), identity],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        client.stdin.write(json.dumps(["pair", PIN]) + "\n")
        client.stdin.flush()

        def waiting():
            found = self.control("--json", "pair", "list")
            pairings = json.loads(found.stdout or "{}")
            pairings = pairings.get("data", pairings).get("pairings", [])
            return [it["id"] for it in pairings if it["state"] == "waiting"]

        [number] = wait_for("a client that pairs", waiting)
        self.control("pair", "pin", str(number), PIN)
        answer = json.loads(client.stdout.readline())
        client.stdin.close()
        client.wait()
        if "ok" not in answer:
            raise SystemExit(f"not paired: {answer}")

    def rss_mb(self, field="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(rf"{field}:\s+(\d+)", file.read())[1]) * 1024 / 1e6

    def threads(self):
        """Of each thread its name, processor seconds, and switches: voluntary, involuntary."""
        threads = {}
        root = f"/proc/{self.process.pid}/task"
        for number in os.listdir(root):
            try:
                paths = [f"{root}/{number}/{it}" for it in ("comm", "schedstat", "status")]
                texts = [open(path).read() for path in paths]
            except (FileNotFoundError, ProcessLookupError):
                continue
            counts = re.findall(r"voluntary_ctxt_switches:\s+(\d+)", texts[2])
            threads[number] = (texts[0].strip(), int(texts[1].split()[0]) / 1e9, *map(int, counts))
        return threads

    def has_thread(self, name):
        return any(it[0].startswith(name) for it in self.threads().values())


def group_of(name):
    return next(group for group, starts in GROUPS if name.startswith(starts))


def spend(daemon, seconds):
    """What each group of threads takes in a second: processor time, switches of both kinds."""
    before, began = daemon.threads(), time.monotonic()
    time.sleep(seconds)
    after, passed = daemon.threads(), time.monotonic() - began
    groups = {group: [0, 0, 0, 0] for group, _ in GROUPS}
    for number, (name, *values) in after.items():
        old = before.get(number, (name, 0, 0, 0))[1:]
        group = groups[group_of(name)]
        for index, value in enumerate(values):
            group[index] += (value - old[index]) / passed
        group[3] += 1
    return groups


def run_perf(*words):
    try:
        done = subprocess.run(["perf", *words], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout + done.stderr if done.returncode == 0 else None


def calls_per_second(daemon):
    said = run_perf(
        "stat", "-x;", "-e", "raw_syscalls:sys_enter", "-p", str(daemon.process.pid), "--", "sleep",
        str(PERF_S),
    )
    found = said and re.search(r"^(\d+);;raw_syscalls", said, re.MULTILINE)
    return int(found[1]) / PERF_S if found else None


def shares(daemon):
    """Of all processor time the percentage of each library."""
    data = f"{daemon.folder}/perf.data"
    pid = str(daemon.process.pid)
    recorded = run_perf(
        "record", "-q", "-F", "1999", "-e", "cpu-clock", "-o", data, "-p", pid, "--", "sleep",
        str(PERF_S),
    )
    said = recorded is not None and run_perf("report", "-i", data, "--sort", "dso", "--stdio", "-q")
    if not said:
        return None
    rows = re.findall(r"^\s*([\d.]+)%\s+(\S+)", said, re.MULTILINE)
    return {name: float(percent) for percent, name in rows}


def stages(daemon):
    """Percentiles 50, 95, 99 of each stage of a frame, in milliseconds."""
    with open(daemon.log) as file:
        found = re.findall(r"stages in us: (.*)", file.read())
    if not found:
        return {}
    rows = re.findall(r"(\w+) (\d+)/(\d+)/(\d+)", found[-1])
    return {name: [int(value) / 1000 for value in values] for name, *values in rows}


def start_client(identity, mode, seconds, *words):
    command = [
        sys.executable, f"{TESTS}/stream.py", "--host", "127.0.0.1", "--http-port", str(PORT),
        "--identity", identity, "--mode", f"{mode}x{FPS}", "--codec", "h264", "--bitrate", "20000",
        "--seconds", str(seconds), "--quit", *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def end_client(daemon, client):
    """What the client got, when host and client are through."""
    report = json.loads(client.communicate()[0])
    if report["error"]:
        raise SystemExit(f"{report['error']}\n{open(daemon.log).read()}")
    wait_for("the end of the session", lambda: not daemon.has_thread("pf-"))
    return report


def stream(daemon, identity, mode, seconds):
    daemon.start()
    fresh_mb = daemon.rss_mb()
    client = start_client(identity, mode, seconds + 2 * PERF_S + SETTLE_S + 1)
    wait_for("a session", lambda: daemon.has_thread("pf-frame"))
    time.sleep(SETTLE_S)
    groups = spend(daemon, seconds)
    streaming_mb = daemon.rss_mb()
    calls, dsos = calls_per_second(daemon), shares(daemon)
    report = end_client(daemon, client)
    time.sleep(SETTLE_S)
    after_mb = daemon.rss_mb()
    idle = spend(daemon, 10)
    stage = stages(daemon)
    launches = [report["first_frame_ms"]]
    for _ in range(LAUNCH_COUNT):
        launches.append(end_client(daemon, start_client(identity, mode, 0.1))["first_frame_ms"])
    daemon.stop()
    memory = (fresh_mb, streaming_mb, after_mb)
    return groups, calls, dsos, report, memory, idle, stage, launches


def ratio(value, reference, name="the reference's"):
    return f" = {value / reference:.2f} of {name} {reference}"


def show(mode, results):
    groups, calls, dsos, report, memory, idle, stage, launches = results
    reference = REFERENCE.get(mode, REFERENCE["1920x1080"])
    outside_max, total_max, p50_max, p99_max = reference["goal"]
    video = report["video"]
    per_second = video["per_second"]
    print(f"\n== {mode} at {per_second} frames/s, {video['kbps']} kbit/s, "
          f"{len(video['missing_numbers'])} gaps, intervals {video['interval_ms']} ms")
    for group, (cpu, voluntary, involuntary, count) in groups.items():
        if group != "sound":
            line(f"CPU, {group}", f"{cpu:.4f} s/s, {cpu / per_second * 1000:.3f} ms a frame, "
                 f"{count} threads")
    # As if no frame had been left out, however busy the machine was.
    scale = FPS / per_second
    total = groups["sound"][0] + scale * sum(
        it[0] for group, it in groups.items() if group != "sound")
    bounded("CPU, all", total, total_max, "{:.3f}", "s/s", ratio(total, reference["total"]))
    bounded("CPU, sound of a tone", groups["sound"][0], 0.02, "{:.4f}", "s/s",
            ratio(groups["sound"][0], REFERENCE_SOUND, "the reference's, of silence,"))
    if dsos is None:
        encode_ms = stage.get("encode", [0])[0]
        line("encoding, wall", f"{encode_ms:.2f} ms a frame; no perf, libx264 not told apart")
    else:
        x264 = sum(percent for name, percent in dsos.items() if "x264" in name) / 100 * total
        line("CPU, libx264", f"{x264:.3f} s/s{ratio(x264, reference['x264'])}")
        outside = total - x264
        elsewhere = round(reference["total"] - reference["x264"], 2)
        bounded("CPU outside libx264", outside, outside_max, "{:.3f}", "s/s",
                ratio(outside, elsewhere))
        largest = sorted(dsos.items(), key=lambda it: -it[1])[:6]
        line("by library", ", ".join(f"{name} {percent:.1f} %" for name, percent in largest))
    if calls is None:
        line("system calls", "not counted: no perf")
    else:
        bounded("system calls a frame", calls / per_second, 40, "{:.1f}", "",
                ratio(calls / per_second, REFERENCE_CALLS))
    switches = sum(it[1] + it[2] for it in groups.values())
    bounded("context switches a frame", switches / per_second, 16, "{:.1f}", "",
            ratio(switches, REFERENCE_SWITCHES))
    line("  voluntary + involuntary, per second", ", ".join(
        f"{group} {voluntary:.0f} + {involuntary:.0f}"
        for group, (_, voluntary, involuntary, _) in groups.items()))
    for name, times in stage.items():
        line(f"stage {name}, p50/p95/p99", "/".join(f"{it:.3f}" for it in times) + " ms")
    if stage:
        sending = stage["packetise"][0] + stage["send"][0]
        bounded("packetise and send, p50", sending, 0.3, "{:.3f}", "ms")
        bounded("capture to sent, p50", stage["total"][0], p50_max, "{:.1f}", "ms",
                ratio(stage["total"][0], reference["latency"][0]))
        bounded("capture to sent, p99", stage["total"][2], p99_max, "{:.1f}", "ms",
                ratio(stage["total"][2], reference["latency"][1]))
    line("capture to client", f"{video['age_ms']} ms")
    fresh, streaming, after = memory
    bounded("memory, streaming", streaming, 80, "{:.1f}", "MB")
    bounded("memory after, beyond fresh", after - fresh, 10, "{:.1f}", "MB",
            f" (fresh {fresh:.1f})")
    first, *others = launches
    bounded("launch to first frame, median", statistics.median(others), 100, "{:.0f}", "ms",
            f" ({min(others):.0f} to {max(others):.0f}, the daemon's first {first:.0f})")
    bounded("wake-ups when idle again", sum(it[1] for it in idle.values()), 0, "{:.1f}", "/s")


def main():
    programs, seconds, *modes = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as identity:
        daemon = Daemon(programs, folder)
        try:
            daemon.start()
            daemon.pair(identity)
            daemon.stop()
            for mode in modes:
                show(mode, stream(daemon, identity, mode, int(seconds)))
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.stop()


if __name__ == "__main__":
    main()
