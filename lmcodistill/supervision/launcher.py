"""Starts the worker processes of one student.

On this machine that is a whole cluster on ports that are free just now; under
TF_CONFIG it is the one worker that belongs here.
"""

import contextlib
import functools
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence

from lmcodistill import tf_environment
from lmcodistill.storage import layout
from lmcodistill.supervision import (
    cluster_spec,
    lifeline,
    process_group,
    tf_config,
)


def threads_of_each(processes: int) -> int:
    """Returns how many threads of this machine each of so many workers gets."""
    return max(1, len(os.sched_getaffinity(0)) // processes)


def start_group(
    command: Sequence[str],
    student: layout.StudentLayout,
    count: int,
    threads: int,
    parameter_servers: int = 0,
) -> process_group.ProcessGroup:
    """Starts `count` workers of a student here, each with so many threads.

    With parameter servers, a coordinator is started besides, and a worker that is
    lost is started again by itself.

    Raises:
        OSError: one could not be started; then none runs.
    """
    processes = count + (1 + parameter_servers if parameter_servers else 0)
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(processes)]
    shared = tf_environment.of_threads(threads)
    workers: list[process_group.WorkerProcess] = []
    try:
        for index in range(processes):
            task = cluster_spec.Task(index, tuple(addresses), parameter_servers)
            environment = {**shared, tf_config.VARIABLE: task.tf_config}
            is_replaced = task.serves and task.job == "worker"
            worker = start_worker(command, student, index, environment, is_replaced)
            worker.serves = task.serves
            workers.append(worker)
    except OSError:
        for worker in workers:
            worker.kill()
            worker.process.wait()
        raise
    return process_group.ProcessGroup(workers, addresses)


def start_worker(
    command: Sequence[str],
    student: layout.StudentLayout,
    index: int,
    environment: Mapping[str, str],
    is_replaced: bool = False,
) -> process_group.WorkerProcess:
    """Starts one worker, with variables beside those of this process.

    Where it `is_replaced`, its group starts it again by itself.

    Raises:
        OSError: it could not be started.
    """
    log = student.log(index)
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as on_failure, theirs, open(log, "ab") as output:
        on_failure.callback(ours.close)
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **environment, lifeline.VARIABLE: "1"},
            stdin=theirs.fileno(),
            stdout=output,
            stderr=subprocess.STDOUT,
            # The terminal's Ctrl-C reaches the supervisor only, which asks.
            start_new_session=True,
        )
        on_failure.pop_all()
    worker = process_group.WorkerProcess(index, log, process, lifeline.Pulse(ours))
    if is_replaced:
        worker.start_again = functools.partial(
            start_worker, command, student, index, environment, is_replaced
        )
    return worker


def _free_ports(count: int) -> list[int]:
    """Returns ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
