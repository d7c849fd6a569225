r"""One machine as several hosts: a group is cut off from storage and its peer.

Two racks of two hosts each, every host a network namespace; students train one to
a rack and meet in an object store in the first. Between the racks runs a slow, long
link, made by this program: it forwards Ethernet frames late, at a bounded rate, and
for a while not at all. Needs root, `ip` and /dev/net/tun.

    [host 0] [host 1] [storage] --- rack 0 === link === rack 1 --- [host 2] [host 3]

Examples:
  python -m tools.soak.network
  python -m tools.soak.network --cut_seconds 120 --delay_ms 40 --mbit 20 --json
"""

import argparse
import collections
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

from tests.support import tiny_run
from tools.soak import harness

PREFIX = "lmcd-"
STORAGE, STORAGE_PORT = "10.77.0.100", 5000
HOSTS = ["10.77.0.10", "10.77.0.11", "10.77.0.12", "10.77.0.13"]
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
START_SECONDS = 240.0


class Link:
    """A cable between two network namespaces: slow, long, and it can be cut."""

    def __init__(self, ends: tuple[str, str], delay: float, bytes_per_second: float):
        """Lays it.

        Args:
            ends: Two namespaces, each with a bridge `br0`.
            delay: Seconds that every frame takes.
            bytes_per_second: Of each direction.
        """
        self._delay, self._rate = delay, bytes_per_second
        self.is_cut = False
        self.frames = self.dropped = 0
        self._taps = [_tap_in(end) for end in ends]
        for number in (0, 1):
            threading.Thread(target=self._forward, args=(number,), daemon=True).start()

    def _forward(self, number: int) -> None:
        source, target = self._taps[number], self._taps[1 - number]
        waiting: collections.deque[tuple[float, bytes]] = collections.deque()
        is_free_at = 0.0
        while True:
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                frame = waiting.popleft()[1]
                if self.is_cut:
                    self.dropped += 1
                    continue
                self.frames += 1
                with contextlib.suppress(OSError):
                    os.write(target, frame)
            pause = max(waiting[0][0] - now, 0.0) if waiting else 0.2
            if not select.select([source], [], [], pause)[0]:
                continue
            frame = os.read(source, 65_536)
            now = time.monotonic()
            # It waits for those before it, then takes its own time, then the way.
            is_free_at = max(is_free_at, now) + len(frame) / self._rate
            waiting.append((is_free_at + self._delay, frame))


def _tap_in(namespace: str) -> int:
    """Makes an Ethernet device in a namespace's bridge; returns its descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        tap = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(
            tap, TUNSETIFF, struct.pack("16sH22x", b"tap0", IFF_TAP | IFF_NO_PI)
        )
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)
    ip("-n", namespace, "link", "set", "tap0", "master", "br0", "up")
    return tap


def ip(*words: str) -> None:
    """Runs `ip`."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def racks():
    """Makes two racks with their hosts, and takes them away."""
    names = [f"{PREFIX}{n}" for n in ("rack0", "rack1", "h0", "h1", "h2", "h3", "s")]
    _remove(names)
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for rack in names[:2]:
            ip("-n", rack, "link", "add", "br0", "type", "bridge")
            ip("-n", rack, "link", "set", "br0", "up")
        placed = zip([*HOSTS, STORAGE], names[2:], (0, 0, 1, 1, 0), strict=True)
        for number, (address, name, rack) in enumerate(placed):
            inner, outer = f"lmcd{number}a", f"lmcd{number}b"
            ip("link", "add", inner, "type", "veth", "peer", "name", outer)
            ip("link", "set", inner, "netns", name)
            ip("link", "set", outer, "netns", names[rack])
            ip("-n", names[rack], "link", "set", outer, "master", "br0", "up")
            ip("-n", name, "address", "add", f"{address}/24", "dev", inner)
            ip("-n", name, "link", "set", inner, "up")
        yield (names[0], names[1])
    finally:
        _remove(names)


def _remove(names: list[str]) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _inside(host: str, *command: object) -> list[str]:
    return ["ip", "netns", "exec", f"{PREFIX}{host}", *map(str, command)]


def _start_storage(log: pathlib.Path) -> subprocess.Popen:
    server = [sys.executable, "-m", "moto.server", "-H", STORAGE, "-p", STORAGE_PORT]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            _inside("s", *server), stdout=output, stderr=output, start_new_session=True
        )
    make = (
        "import time, urllib.request\n"
        f"request = urllib.request.Request('http://{STORAGE}:{STORAGE_PORT}/runs', "
        "method='PUT')\n"
        "for _ in range(100):\n"
        "    try: urllib.request.urlopen(request); break\n"
        "    except OSError: time.sleep(0.2)\n"
        "else: raise SystemExit('no object store')\n"
    )
    subprocess.run(_inside("s", sys.executable, "-c", make), check=True)
    return process


def _start_worker(
    host: int, data: pathlib.Path, work: pathlib.Path
) -> subprocess.Popen:
    student, index = divmod(host, 2)
    workers = [f"{address}:2222" for address in HOSTS[2 * student :][:2]]
    knobs = harness.LONG | {
        "NUM_TRAIN_STEPS": 1_000_000,
        "EXCHANGE_MODE": "freshest",
        "PUBLISH_EVERY_STEPS": 20,
        "RELOAD_EVERY_STEPS": 20,
        "CHECKPOINT_EVERY_STEPS": 100,
        "Exchange__max_staleness_steps": 400,
    }
    command = [
        *(sys.executable, "-m", "lmcodistill"),
        *tiny_run.train_arguments(data, _disk_of(work, student), **knobs),
        *("--shared_dir", "s3://runs/cut", "--student", student),
    ]
    config = {
        "cluster": {"worker": workers},
        "task": {"type": "worker", "index": index},
    }
    environment = tiny_run.environment(
        TF_CONFIG=json.dumps(config),
        AWS_ENDPOINT_URL=f"http://{STORAGE}:{STORAGE_PORT}",
        AWS_ACCESS_KEY_ID="testing",
        AWS_SECRET_ACCESS_KEY="testing",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        LMCODISTILL_FAULT="update@1+:sleep=0.05",
        OMP_NUM_THREADS="1",
        TF_NUM_INTRAOP_THREADS="1",
    )
    with open(work / f"host-{host}.txt", "wb") as output:
        return subprocess.Popen(
            _inside(f"h{host}", *command),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _disk_of(work: pathlib.Path, student: int) -> pathlib.Path:
    return work / f"disk-of-student-{student}"


def experiment(flags: argparse.Namespace, data, work: pathlib.Path) -> dict:
    """Trains, cuts, heals; returns what both sides did meanwhile."""

    def events(student: int) -> dict[str, int]:
        """Returns how often each event stands in a chief's log."""
        log = tiny_run.log_of(_disk_of(work, student), student)
        return dict(collections.Counter(re.findall(r"event=(\w+)", log)))

    def counts() -> tuple[list[dict[str, int]], list[int]]:
        """Returns the events and the steps of both."""
        beats = [tiny_run.heartbeat_of(_disk_of(work, s), s) for s in (0, 1)]
        return [events(0), events(1)], [beat["step"] for beat in beats]

    def seconds_until(student: int, event: str, before: dict[str, int]) -> float | None:
        """Returns how long after the cut an event is there once more."""
        reached = tiny_run.wait_until(
            lambda: events(student).get(event, 0) > before.get(event, 0), START_SECONDS
        )
        return round(time.monotonic() - healed, 1) if reached else None

    result: dict = {"delay_ms": flags.delay_ms, "mbit": flags.mbit}
    with racks() as ends, contextlib.ExitStack() as cleanup:
        link = Link(ends, flags.delay_ms / 1e3, flags.mbit * 1e6 / 8)
        storage = _start_storage(work / "storage.txt")
        cleanup.callback(storage.kill)
        workers = [_start_worker(host, data, work) for host in range(4)]
        cleanup.callback(lambda: [_end(worker) for worker in workers])

        def both_learn() -> bool:
            return all(events(s).get("teacher_loaded", 0) > 1 for s in (0, 1))

        result["both_taught_before"] = tiny_run.wait_until(both_learn, START_SECONDS)
        time.sleep(10.0)
        before, at_cut = counts()
        link.is_cut = True
        time.sleep(flags.cut_seconds)
        during, at_heal = counts()
        link.is_cut = False
        healed = time.monotonic()
        result["seconds_to_a_new_export_of_student_1"] = seconds_until(
            1, "published", during[1]
        )
        for student in (0, 1):
            result[f"seconds_to_a_fresh_teacher_of_student_{student}"] = seconds_until(
                student, "teacher_loaded", during[student]
            )
        time.sleep(10.0)
        result["cut_seconds"] = flags.cut_seconds
        after, in_the_end = counts()
        for student in (0, 1):
            result[f"student_{student}"] = {
                "step_at_cut": at_cut[student],
                "step_at_heal": at_heal[student],
                "step_in_the_end": in_the_end[student],
                "events_during_the_cut": _difference(during[student], before[student]),
                "events_after": _difference(after[student], during[student]),
            }
        result["frames_forwarded"], result["frames_dropped"] = link.frames, link.dropped
        result["exit_codes"] = [_end(worker) for worker in workers]
    return result


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {n: c - before.get(n, 0) for n, c in after.items() if c > before.get(n, 0)}


def _end(worker: subprocess.Popen) -> int | None:
    if worker.poll() is None:
        worker.send_signal(signal.SIGTERM)
    try:
        return worker.wait(120.0)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        return None


def main() -> int:
    """Reads the flags, runs the experiment, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delay_ms", type=float, default=20.0)
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--cut_seconds", type=float, default=90.0)
    parser.add_argument("--work_dir", type=pathlib.Path, help="kept; else a new one")
    parser.add_argument("--json", action="store_true", help="one line")
    flags = parser.parse_args()
    if os.geteuid() or not pathlib.Path("/dev/net/tun").exists():
        parser.error("network namespaces and /dev/net/tun need root")
    with tempfile.TemporaryDirectory(prefix="lmcodistill-network-") as folder:
        work = flags.work_dir or pathlib.Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        result = experiment(flags, tiny_run.make_data(work / "data"), work)
    print(json.dumps(result, indent=None if flags.json else 2))
    numbers = [result[n] for n in result if n.startswith("seconds_to")]
    return 0 if result["both_taught_before"] and None not in numbers else 1


if __name__ == "__main__":
    sys.exit(main())
