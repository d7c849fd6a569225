"""TF_CONFIG, read and checked whole, before anything listens or waits.

What other tools write is taken: a chief beside the workers is worker 0, and an
index may be a string. Pure: nothing here looks at the network.
"""

import dataclasses
import json
from typing import Any

from lmcodistill import errors

_FORM = (
    'Expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
    '"index": 0}}, perhaps with one "chief", which "ps" need; without TF_CONFIG the '
    "whole run starts here."
)
_JOBS = ("chief", "worker", "ps")  # In this order they are one list.
_HIGHEST_PORT = 65_535
_SHOWN = 200


@dataclasses.dataclass(frozen=True)
class Task:
    """This process's place in its group.

    Attributes:
        index: Among the processes of the group; 0 is the chief.
        addresses: `host:port` of all of them, in order.
        parameter_servers: How many of them, the last ones, are parameter servers.
            Then the chief only coordinates, and the others work for it.
    """

    index: int
    addresses: tuple[str, ...]
    parameter_servers: int = 0

    @property
    def address(self) -> str:
        """`host:port` that TensorFlow will listen on."""
        return self.addresses[self.index]

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what the group leaves."""
        return self.index == 0

    @property
    def asynchronous_workers(self) -> int:
        """Workers that make updates of their own, on parameter servers."""
        servers = self.parameter_servers
        return len(self.addresses) - 1 - servers if servers else 0

    @property
    def serves(self) -> bool:
        """Whether this process only does what the chief asks it to."""
        return bool(self.parameter_servers) and not self.is_chief

    @property
    def job(self) -> str:
        """What TensorFlow calls its kind: `chief`, `worker` or `ps`."""
        return self._place[0]

    @property
    def job_index(self) -> int:
        """Its index among those of its kind."""
        return self._place[1]

    @property
    def cluster(self) -> dict[str, tuple[str, ...]]:
        """All addresses by kind; without parameter servers all are workers."""
        if not self.parameter_servers:
            return {"worker": self.addresses}
        first_server = len(self.addresses) - self.parameter_servers
        return {
            "chief": self.addresses[:1],
            "worker": self.addresses[1:first_server],
            "ps": self.addresses[first_server:],
        }

    @property
    def _place(self) -> tuple[str, int]:
        index = self.index
        for job, addresses in self.cluster.items():
            if index < len(addresses):
                return job, index
            index -= len(addresses)
        raise IndexError(f"there is no task {self.index}")

    @property
    def tf_config(self) -> str:
        """TF_CONFIG that says the same."""
        task = {"type": self.job, "index": self.job_index}
        return json.dumps({"cluster": self.cluster, "task": task})


def parse(text: str) -> Task:
    """Returns the task that a TF_CONFIG describes.

    Raises:
        UsageError: it cannot be that of a worker of a student.
    """
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refusal(text, f"is no JSON ({error})") from error
    cluster = _object(text, config, "cluster")
    task = _object(text, config, "task")
    by_job = {job: _addresses(text, job, value) for job, value in cluster.items()}
    strange = [job for job in by_job if job not in _JOBS and by_job[job]]
    if strange:
        raise _refusal(
            text,
            f"has a job {strange[0]!r} in its cluster; a student has workers, "
            "perhaps a chief and parameter servers, and what it would ask of others "
            "nobody answers",
        )
    if len(by_job.get("chief", [])) > 1:
        raise _refusal(text, f"has {len(by_job['chief'])} chiefs; a student has one")
    addresses = [address for job in _JOBS for address in by_job.get(job, [])]
    servers = len(by_job.get("ps", []))
    if servers and not (by_job.get("chief") and by_job.get("worker")):
        raise _refusal(
            text, "has parameter servers, and not both a chief and workers for them"
        )
    if not addresses:
        raise _refusal(text, "has no worker in its cluster")
    _refuse_equal(text, addresses)
    for address in addresses:
        _, port = split(address)
        if port == 0 and len(addresses) > 1:  # Any that is free, if nobody calls.
            raise _refusal(text, f"has the port 0 in {address!r}; nobody could find it")
    return Task(_index(text, task, by_job), tuple(addresses), servers)


def split(address: str) -> tuple[str, int]:
    """Returns host and port of an address that was checked; IPv6 without brackets."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _object(text: str, config: Any, name: str) -> dict[str, Any]:
    value = config.get(name) if isinstance(config, dict) else None
    if not isinstance(value, dict):
        raise _refusal(text, f"has no object {name!r}")
    return value


def _addresses(text: str, job: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise _refusal(text, f"has {_short(value)} for {job!r}; a list was expected")
    for address in value:
        if fault := _fault(address):
            raise _refusal(text, f"has the address {_short(address)}, {fault}")
    return value


def _fault(address: Any) -> str:
    """Returns what is wrong with an address; nothing if it could be one."""
    if not isinstance(address, str):
        return "which is no text"
    host, _, port = address.rpartition(":")
    if not host:
        return "which is not host:port"
    is_number = port.isascii() and port.isdigit() and len(port) <= 5
    if not is_number or int(port) > _HIGHEST_PORT:
        return f"whose port is no number up to {_HIGHEST_PORT:,}"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host and "/" not in host:
        return "an IPv6 address without brackets: write [host]:port"
    try:
        host.encode("idna")
    except UnicodeError:
        return "whose host is no name"
    if not host or not host.isprintable() or set(host) & set(" /[]@\\"):
        return "whose host is no name"
    return ""


def _refuse_equal(text: str, addresses: list[str]) -> None:
    seen: set[tuple[str, int]] = set()
    for address in addresses:
        host, port = split(address)
        if (host.lower(), port) in seen:
            raise _refusal(text, f"has the address {address!r} twice")
        seen.add((host.lower(), port))


def _index(text: str, task: dict[str, Any], by_job: dict[str, list[str]]) -> int:
    """Returns the place of the task in the list of all workers."""
    job, index = task.get("type"), task.get("index")
    if job not in _JOBS:
        raise _refusal(
            text,
            f"has task type {_short(job)}; every task of a student is a 'worker', or "
            "the chief, or a parameter server, 'ps'",
        )
    if isinstance(index, str) and index.isascii() and index.isdigit():
        index = int(index[:_SHOWN])
    if type(index) is not int:
        raise _refusal(text, f"has task index {_short(index)}; a number was expected")
    count = len(by_job.get(job, []))
    if not 0 <= index < count:
        raise _refusal(
            text, f"has task index {index}, and its cluster {count} of the job {job!r}"
        )
    before = _JOBS[: _JOBS.index(job)]
    return index + sum(len(by_job.get(other, [])) for other in before)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."


def _refusal(text: str, fault: str) -> errors.UsageError:
    return errors.UsageError(f"TF_CONFIG = {_short(text)} {fault}. {_FORM}")
