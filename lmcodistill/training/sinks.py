"""Reports sent on to a tracking service: MLflow, or Weights & Biases.

`metrics.jsonl` stays the source. Where a service is and who may write there is for the
environment to say, as its library has it (`MLFLOW_TRACKING_URI`, `WANDB_MODE`, ...). It
is spoken to in a thread: one that is slow costs no step, and one that fails costs the
run nothing but its reports there.
"""

import importlib.util
import logging
import os
import pathlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lmcodistill import errors
from lmcodistill.storage import files, layout

log = logging.getLogger("lmcodistill")
# How long the end of a run waits for reports that are still on their way.
_LAST_SECONDS = 30.0
_PROJECT = "lmcodistill"


class Tracking(NamedTuple):
    """A run that a service follows.

    Attributes:
        id: What the service knows it by.
        send: Takes a step and its numbers by name.
        end: Says that nothing follows.
    """

    id: str
    send: Callable[[int, Mapping[str, float]], None]
    end: Callable[[], None]


class Sink:
    """Sends the reports of one student; only its chief has one."""

    def __init__(self, name: str, student: layout.StudentLayout, config_text: str):
        """Begins, or goes on with what an earlier start of the student began.

        Args:
            name: The service's, from `SERVICES`.
            student: Where the service's id of it is kept.
            config_text: The whole configuration, which the service shows.
        """
        self._name, self._student, self._config_text = name, student, config_text
        self._reports: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name=name)
        self._thread.start()

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        """Has the numbers of a report sent, by name."""
        self._reports.put((step, numbers))

    def close(self) -> None:
        """Waits for what is on its way, but not for ever."""
        self._reports.put(None)
        self._thread.join(_LAST_SECONDS)

    def _work(self) -> None:
        try:
            known, root = self._student.tracked(self._name), self._student.root
            old = known.read_text(encoding="utf-8") if known.is_file() else None
            tracking = SERVICES[self._name](root, old, self._config_text)
            files.write_text(known, tracking.id)
            while (report := self._reports.get()) is not None:
                tracking.send(*report)
            tracking.end()
        except Exception as error:  # Whatever the library raises.
            words = errors.printable(str(error), kept="")[:300]
            log.warning(
                "event=sink_failed sink=%s reason=%s: %s; metrics.jsonl has all",
                *(self._name, type(error).__name__, words),
            )


def check(name: str) -> None:
    """Refuses a service whose library is not installed; `none` is none.

    Raises:
        UsageError: it is not.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise errors.UsageError(
            f"METRICS_SINK = {name!r} needs its library, which is not installed. Run "
            f"`pip install 'lmcodistill[{name}]'`, or leave METRICS_SINK at 'none': "
            "metrics.jsonl has all reports in any case."
        )


def _name_of(root: pathlib.Path) -> str:
    """Returns `RUN/0` for `.../RUN/students/0`."""
    return f"{root.parent.parent.name}/{root.name}"


def _mlflow(root: pathlib.Path, old: str | None, config_text: str) -> Tracking:
    import mlflow
    from mlflow import entities

    client = mlflow.MlflowClient()
    if old is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        id_ = client.create_run(experiment, run_name=_name_of(root)).info.run_id
    else:
        id_ = old
        client.update_run(id_, status="RUNNING")
    client.log_text(id_, config_text, "config.gin")

    def send(step: int, numbers: Mapping[str, float]) -> None:
        now = round(1_000 * time.time())
        metrics = [entities.Metric(n, x, now, step) for n, x in numbers.items()]
        client.log_batch(id_, metrics)

    return Tracking(id_, send, lambda: client.set_terminated(id_))


def _wandb(root: pathlib.Path, old: str | None, config_text: str) -> Tracking:
    import wandb

    run = wandb.init(
        id=old or uuid.uuid4().hex,
        resume="allow",
        name=_name_of(root),
        dir=root,
        config={"config.gin": config_text},
        # Standard error is the worker's log already.
        settings=wandb.Settings(console="off", silent=True),
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
    )
    return Tracking(
        run.id, lambda step, numbers: run.log(dict(numbers), step=step), run.finish
    )


# What `Training.metrics_sink` names, as the module is called. Each begins a run for the
# student in a folder, or goes on with the one of an id.
SERVICES: dict[str, Callable[[pathlib.Path, str | None, str], Tracking]] = {
    "mlflow": _mlflow,
    "wandb": _wandb,
}
