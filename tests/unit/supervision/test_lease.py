"""One chief per student: who may write, who must wait, and who must end."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from lmcodistill import errors
from lmcodistill.storage import faults, files, publication
from lmcodistill.supervision import lease

ROOT = pathlib.Path(__file__).resolve().parents[3]
HOLDER = "tests.support.lease_holder"
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


class Process:
    """A chief in another process; the first line it says is `said`."""

    def __init__(self, folder, *flags, beat=2.0, expiry=30.0, within=()):
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", HOLDER]
            + [str(folder), str(beat), str(expiry), *flags],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.said = self.hear()

    def hear(self) -> str:
        return self._process.stdout.readline().strip()

    def tell(self, command: str) -> str:
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.hear()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*flags, **changes):
        started.append(Process(tmp_path, *flags, **changes))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def leases(tmp_path):
    return tmp_path / "leases"


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 1.0)


def edit(path: pathlib.Path, **changes) -> None:
    files.write_text(path, files.to_json({**json.loads(path.read_text()), **changes}))


def wait_until(is_so, seconds=20.0):
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_first_owner_says_who_it_is(leases):
    own = lease.Lease.acquire(leases)

    holder = lease.newest(leases)

    own.check()
    assert own.generation == holder.generation == 1
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder.is_alive()
    assert lease.newest(leases / "not there") is None


def test_owner_that_is_dead_on_this_machine_is_replaced_at_once(start, leases):
    first = start()
    first.kill()
    began = time.monotonic()

    own = lease.Lease.acquire(leases)

    assert first.said == "held 1"
    assert own.generation == 2
    assert time.monotonic() - began < 1.0


def test_owner_that_lives_on_this_machine_is_named_at_once(start, leases):
    first = start()
    began = time.monotonic()

    with pytest.raises(errors.GroupLostError) as refusal:
        lease.Lease.acquire(leases)

    assert time.monotonic() - began < 1.0
    pattern = rf"held by process {first.pid} on {socket.gethostname()}, .* for \d+ s"
    assert re.search(pattern, str(refusal.value))
    assert "--take_over" in str(refusal.value)
    assert first.tell("check") == "done"


def test_owner_that_ended_in_good_order_is_replaced_at_once(start, leases):
    first = start()
    answer = first.tell("release")

    own = lease.Lease.acquire(leases)

    assert (answer, own.generation) == ("done", 2)


def test_process_id_that_came_again_is_not_the_owner(leases):
    lease.Lease.acquire(leases)
    where, which = json.loads((leases / "lease-000001.json").read_text())["process"]
    edit(leases / "lease-000001.json", process=[where, f"{which}0"])

    assert lease.Lease.acquire(leases).generation == 2


@pytest.mark.parametrize("within", [(), NAMESPACE], ids=["pretended", "real"])
def test_living_owner_that_cannot_be_seen_is_named_within_seconds(
    start, leases, within
):
    if within and not can_hide():
        pytest.skip("this user may not make process namespaces")
    first = start(within=within)
    if not within:  # The next beats say so again.
        keep_editing = threading.Event()
        threading.Thread(target=pretend_elsewhere, args=(leases, keep_editing)).start()
        wait_until(lambda: lease.newest(leases).is_alive() is None)
    began = time.monotonic()

    with pytest.raises(errors.GroupLostError, match="is held by process"):
        lease.Lease.acquire(leases)
    seconds = time.monotonic() - began
    if not within:
        keep_editing.set()

    assert first.said == "held 1"
    assert seconds < 5.0


def can_hide() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


def pretend_elsewhere(leases, ended):
    """Copies a lease's beats to a higher one, as if from another machine."""
    other = leases / "lease-000002.json"
    while not ended.wait(0.05):
        content = json.loads((leases / "lease-000001.json").read_text())
        content["process"] = ["elsewhere", "1 1"]
        files.write_text(other, files.to_json(content))


@pytest.mark.parametrize("within", [(), NAMESPACE], ids=["pretended", "real"])
def test_silent_owner_that_cannot_be_seen_is_replaced_when_it_expires(
    start, leases, fast, within
):
    if within and not can_hide():
        pytest.skip("this user may not make process namespaces")
    first = start(within=within)
    first.kill()
    if not within:
        edit(leases / "lease-000001.json", process=["elsewhere", "1 1"])
    assert lease.newest(leases).is_alive() is None
    began = time.monotonic()

    own = lease.Lease.acquire(leases)

    assert own.generation == 2
    assert 1.0 <= time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"host": 1, "pid": "x"}', b"x" * 100_000, b"\xff"],
)
def test_damaged_lease_is_watched_and_replaced(leases, fast, content):
    lease.Lease.acquire(leases)
    (leases / "lease-000001.json").write_bytes(content)

    assert lease.Lease.acquire(leases).generation == 2


def test_who_does_not_wait_refuses_only_an_owner_that_is_seen(leases):
    assert lease.refuse_held(leases, wait=False) is None
    lease.Lease.acquire(leases)

    with pytest.raises(errors.GroupLostError, match="is held by process"):
        lease.refuse_held(leases, wait=False)

    edit(leases / "lease-000001.json", process=["elsewhere", "7 7"])
    began = time.monotonic()
    assert lease.refuse_held(leases, wait=False).generation == 1
    assert time.monotonic() - began < 1.0


def test_take_over_takes_it_from_the_living_who_ends(start, leases):
    first = start(beat=0.1)

    own = lease.Lease.acquire(leases, take_over=True)

    assert own.generation == 2
    assert first.hear().startswith("lost This process held")
    assert first.tell("check").startswith("not owner")


def test_owner_that_was_frozen_ends_when_it_thaws_and_publishes_nothing(
    start, tmp_path, leases
):
    first = start()
    first.signal(signal.SIGSTOP)
    second = start("--take_over")
    first.signal(signal.SIGCONT)
    began = time.monotonic()

    lost = first.hear()
    answers = [first.tell("check"), first.tell("publish")]

    assert second.said == "held 2"
    assert lost.startswith("lost This process held")
    assert f"process {second.pid}" in lost
    assert time.monotonic() - began < 5.0
    assert [a.startswith("not owner") for a in answers] == [True, True]
    assert publication.committed(tmp_path / "exports", "export") == []
    assert list((tmp_path / "exports").iterdir()) == []
    assert second.tell("publish") == "done"
    found = publication.committed(tmp_path / "exports", "export")
    assert [s.version for s in found] == [(2, 50)]


def test_frozen_owner_that_cannot_be_seen_expires(start, leases):
    if not can_hide():
        pytest.skip("this user may not make process namespaces")
    first = start(beat=0.1, expiry=1.0, within=NAMESPACE)
    children = pathlib.Path(f"/proc/{first.pid}/task/{first.pid}/children")
    inner = int(children.read_text())
    os.kill(inner, signal.SIGSTOP)

    second = start(beat=0.1, expiry=1.0)
    os.kill(inner, signal.SIGCONT)

    assert second.said == "held 2"
    assert first.hear().startswith("lost")


RACER = """
import pathlib, sys
from lmcodistill import errors
from lmcodistill.supervision import lease

for line in sys.stdin:
    try:
        lease.Lease.acquire(pathlib.Path(line.strip()))
        print("owner", flush=True)
    except errors.GroupLostError:
        print("refused", flush=True)
"""


def test_no_race_has_two_owners(tmp_path):
    """Races for a folder that is new, and for one whose owner died."""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    owners = []
    for race in range(100):
        folder = tmp_path / str(race)
        if race % 2:
            lease.Lease.acquire(folder)
            edit(folder / "lease-000001.json", released=True)
        for racer in racers:
            racer.stdin.write(f"{folder}\n")
            racer.stdin.flush()
        said = [racer.stdout.readline() for racer in racers]
        owners.append(said.count("owner\n"))
    for racer in racers:
        racer.communicate()

    assert owners == [1] * 100


def test_number_that_is_free_again_is_not_the_highest(leases):
    """Somebody slept between its look and its try, while five others came and went."""
    for number in range(1, 7):
        lease.Lease.acquire(leases)
        edit(leases / f"lease-{number:06d}.json", released=True)
    slow = lease.Lease(leases, 2)
    assert not (leases / "lease-000002.json").exists()

    with pytest.raises(errors.GroupLostError, match="at the same moment"):
        slow._create(2)


def test_next_life_of_the_same_process_keeps_the_folder(leases, fast):
    own = lease.Lease.acquire(leases)
    lost = []
    own.keep(lost.append)

    for _ in range(5):
        own.renew()
    wait_until(lambda: lease.newest(leases).beat > 2)
    own.check()
    own.release()

    assert own.generation == 6
    assert lost == []
    assert sorted(p.name for p in leases.iterdir()) == [
        "lease-000004.json",
        "lease-000005.json",
        "lease-000006.json",
    ]
    assert lease.newest(leases).released


def test_life_that_could_not_begin_changes_nothing(leases):
    own = lease.Lease.acquire(leases)
    lease.Lease.acquire(leases, take_over=True)

    with pytest.raises(errors.GroupLostError, match="at the same moment"):
        own.renew()

    assert own.generation == 1


def test_what_killed_owners_left_goes(leases):
    leases.mkdir()
    for name in (".lease-000001.json.0123.partial", ".lease-000009.json.0123.partial"):
        (leases / name).touch()
    for _ in range(2):
        lease.Lease.acquire(leases, take_over=True)

    assert sorted(p.name for p in leases.iterdir()) == [
        ".lease-000009.json.0123.partial",  # Perhaps of somebody who is about to win.
        "lease-000001.json",
        "lease-000002.json",
    ]


def test_full_disk_costs_no_ownership_and_is_said_once(
    leases, fast, monkeypatch, caplog
):
    own = lease.Lease.acquire(leases)
    lost = []
    monkeypatch.setenv(faults.VARIABLE, "lease.beat@1+:fail")
    own.keep(lost.append)
    wait_until(lambda: sum(faults._passes.values()) >= 5)
    monkeypatch.delenv(faults.VARIABLE)
    wait_until(lambda: "lease_renewed" in caplog.text)

    own.check()
    own.release()

    assert caplog.text.count("lease_not_renewed") == 1
    assert lost == []


def test_owner_learns_that_it_lost_the_folder_though_the_disk_is_full(
    leases, fast, monkeypatch
):
    own = lease.Lease.acquire(leases)
    lost = threading.Event()
    monkeypatch.setenv(faults.VARIABLE, "lease.beat@1+:fail")
    own.keep(lambda error: lost.set())

    lease.Lease.acquire(leases, take_over=True)

    assert lost.wait(20.0)


def test_process_ends_though_storage_hangs(leases, fast, monkeypatch):
    monkeypatch.setattr(lease, "_RELEASE_SECONDS", 0.3)
    own = lease.Lease.acquire(leases)
    monkeypatch.setenv(faults.VARIABLE, "lease.beat@1+:sleep=3")
    own.keep(lambda error: None)
    wait_until(lambda: sum(faults._passes.values()) > 0)
    began = time.monotonic()

    own.release()

    assert time.monotonic() - began < 2.0
