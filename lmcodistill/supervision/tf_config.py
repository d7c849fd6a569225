"""Which worker this process is, and who answers at the addresses of its group."""

import contextlib
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from lmcodistill import errors
from lmcodistill.supervision import cluster_spec

VARIABLE = "TF_CONFIG"
_PROBE_SECONDS = 3.0

Answer = TypeVar("Answer")


def is_set() -> bool:
    """Returns whether this process was started as one worker of a cluster."""
    return VARIABLE in os.environ


def own_task() -> cluster_spec.Task:
    """Returns the task that TF_CONFIG describes.

    Raises:
        UsageError: it cannot be that of a worker of a student.
    """
    return cluster_spec.parse(os.environ.get(VARIABLE, ""))


def check_port(task: cluster_spec.Task) -> None:
    """Refuses to start where this worker's port is taken.

    TensorFlow would say so only in C++, in the middle of a stack trace.

    Raises:
        GroupLostError: another process holds the port.
    """
    _, port = cluster_spec.split(task.address)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise errors.GroupLostError(
                f"Port {port} of {task.address}, which TF_CONFIG gives to this worker, "
                f"is taken ({error.strerror}). Another job or an earlier worker of "
                "this one still holds it; stop that, or give another port."
            ) from error


def check_addresses(task: cluster_spec.Task, allow_public: bool) -> str | None:
    """Refuses addresses that the internet may reach, unless that is meant.

    Names that cannot be resolved yet are let through.

    Returns:
        A warning for the log; None where the whole cluster is on this machine.

    Raises:
        UsageError: an address is public, and that was not allowed.
    """
    ips_of = _of_all(task.addresses, _ip_addresses)
    public = [
        f"{address} ({ip})" if str(ip) not in address else address
        for address, ips in ips_of.items()
        for ip in ips or ()
        if ip.is_global
    ]
    if public and not allow_public:
        raise errors.UsageError(
            f"TF_CONFIG has a public address: {', '.join(public)}. TensorFlow's port "
            "has no password and no encryption, and whoever reaches it can run code "
            "as you. Give addresses of a private network or a VPN. If a firewall lets "
            "only these hosts reach each other, add --allow_public_addresses."
        )
    if all(ips and all(ip.is_loopback for ip in ips) for ips in ips_of.values()):
        return None
    _, port = cluster_spec.split(task.address)
    return (
        f"TensorFlow will listen on port {port} of all interfaces of this machine, "
        f"whatever {task.address} says, without password or encryption: keep "
        "everybody but the other workers away from it with a firewall."
    )


def _ip_addresses(
    address: str,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    entries = socket.getaddrinfo(*cluster_spec.split(address), type=socket.SOCK_STREAM)
    # A link-local address may carry its interface's name.
    ips = {str(entry[4][0]).partition("%")[0] for entry in entries}
    return [ipaddress.ip_address(ip) for ip in sorted(ips)]


def unanswered(addresses: Sequence[str]) -> dict[str, str]:
    """Returns which of some addresses nobody answers at, each with the reason."""

    def connect(address: str) -> str:
        try:
            socket.create_connection(
                cluster_spec.split(address), _PROBE_SECONDS
            ).close()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    return {
        address: "no answer" if reason is None else reason
        for address, reason in _of_all(addresses, connect).items()
        if reason != ""
    }


def _of_all(
    addresses: Sequence[str], ask: Callable[[str], Answer]
) -> dict[str, Answer | None]:
    """Returns what `ask` says of each address; None where it takes too long."""
    answers: dict[str, Answer | None] = dict.fromkeys(addresses)

    def answer(address: str) -> None:
        with contextlib.suppress(OSError):  # A name that nobody knows, or not yet.
            answers[address] = ask(address)

    # Left alone after a while: a name server may keep a question for minutes.
    threads = [
        threading.Thread(target=answer, args=(address,), daemon=True)
        for address in addresses
    ]
    give_up = time.monotonic() + _PROBE_SECONDS + 0.5
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, give_up - time.monotonic()))
    return dict(answers)
