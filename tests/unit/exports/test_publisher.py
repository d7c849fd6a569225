"""Publishing in the background: what storage does stops no student."""

import logging
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.exports import lookup, publisher, reader
from lmcodistill.exports import writer as writer_lib
from lmcodistill.model import registry, weights
from lmcodistill.storage import publication

WEIGHTS = {"w": np.ones(3)}


@pytest.fixture(autouse=True)
def heard(caplog):
    """The program's log, whatever another test left it set to."""
    caplog.set_level(logging.INFO, logger="lmcodistill")
    return caplog


def submit(one, step, may_skip=True):
    return one.submit(step, lambda: WEIGHTS, may_skip=may_skip)


class Storage:
    """Takes exports when told to; until then whoever writes waits."""

    def __init__(self, *failures):
        self.written, self._failures = [], list(failures)
        self.is_open = threading.Event()
        self.is_open.set()

    def __call__(self, step, given):
        assert self.is_open.wait(60.0)
        if self._failures and (failure := self._failures.pop(0)):
            raise failure
        self.written.append((step, threading.current_thread().name))


def test_export_is_written_in_another_thread(heard):
    storage = Storage()
    one = publisher.Publisher(storage, patience_seconds=0.0)

    assert submit(one, 50)

    assert one.wait()
    assert storage.written == [(50, "publishing")]
    assert "step=50 event=published" in heard.text


def test_export_that_is_due_too_early_is_skipped_and_said(heard):
    storage = Storage()
    storage.is_open.clear()
    one = publisher.Publisher(storage, patience_seconds=0.0)
    submit(one, 50)
    taken = []

    began = one.submit(100, lambda: taken.append(1), may_skip=True)
    storage.is_open.set()

    assert one.wait()
    assert not began
    assert taken == []  # Not even a copy of the weights was made.
    assert [step for step, _ in storage.written] == [50]
    assert "step=100 event=export_skipped reason=export 50 is still" in heard.text


def test_export_that_peers_need_waits_for_the_one_before():
    storage = Storage()
    storage.is_open.clear()
    one = publisher.Publisher(storage, patience_seconds=0.0)
    submit(one, 50)
    threading.Timer(0.2, storage.is_open.set).start()

    began = submit(one, 100, may_skip=False)

    assert began and one.wait()
    assert [step for step, _ in storage.written] == [50, 100]


@pytest.mark.parametrize(
    "failure",
    [
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied"),
        tf.errors.ResourceExhaustedError(None, None, "No space left\nand more"),
        tf.errors.PermissionDeniedError(None, None, "Read-only file system"),
        tf.errors.UnavailableError(None, None, ""),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_storage_that_refuses_costs_one_export_and_one_line(heard, failure):
    storage = Storage(failure)
    one = publisher.Publisher(storage, patience_seconds=0.0)

    submit(one, 50)
    is_published = one.wait()
    submit(one, 100)

    assert not is_published
    assert one.wait()
    assert [step for step, _ in storage.written] == [100]
    warnings = [r.getMessage() for r in heard.records if r.levelname == "WARNING"]
    (line,) = warnings
    assert line.startswith("step=50 event=export_skipped reason=")
    assert type(failure).__name__ in line
    assert "\n" not in line


def test_export_that_peers_need_is_tried_again(heard, monkeypatch):
    monkeypatch.setattr(publisher, "_FIRST_PAUSE_SECONDS", 0.01)
    storage = Storage(*[OSError(28, "No space left on device")] * 3)
    one = publisher.Publisher(storage, patience_seconds=60.0)

    submit(one, 50, may_skip=False)

    assert one.wait()
    assert [step for step, _ in storage.written] == [50]
    assert heard.text.count("event=export_delayed") == 3


def test_patience_ends(monkeypatch):
    monkeypatch.setattr(publisher, "_FIRST_PAUSE_SECONDS", 0.01)
    storage = Storage(*[OSError(28, "No space left on device")] * 1000)
    one = publisher.Publisher(storage, patience_seconds=0.2)
    began = time.monotonic()

    submit(one, 50, may_skip=False)

    assert not one.wait()
    assert time.monotonic() - began < 30.0


def test_wait_may_be_short():
    storage = Storage()
    storage.is_open.clear()
    one = publisher.Publisher(storage, patience_seconds=0.0)
    submit(one, 50)

    in_time = one.wait(0.05)
    storage.is_open.set()

    assert not in_time
    assert one.wait()


@pytest.mark.parametrize(
    "failure",
    [errors.GroupLostError("taken over"), KeyError("a bug")],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("call", ["check", "wait", "submit"])
def test_what_is_not_the_storages_fault_reaches_the_next_call(failure, call):
    storage = Storage(failure)
    one = publisher.Publisher(storage, patience_seconds=60.0)
    submit(one, 50)
    with pytest.raises(type(failure)):
        one.wait()

    with pytest.raises(type(failure)):
        submit(one, 100) if call == "submit" else getattr(one, call)()

    assert storage.written == []


def test_weights_that_are_not_finite_are_skipped_and_end_nothing():
    storage = Storage(errors.DivergedError("not finite"))
    one = publisher.Publisher(storage, patience_seconds=60.0)
    submit(one, 50)

    assert not one.wait()

    assert storage.written == []


def test_exports_written_beside_training_are_whole_and_of_their_step(
    tmp_path, config, vocabulary
):
    # The step as a trainer runs it: variables change while an export is written.
    model = registry.build(config, 12, weights.initial(config, 12, 1))
    writer = writer_lib.Exporter(config, vocabulary, student=0, reset_at_documents=True)
    owner = publication.Owner(1, lambda: None)

    def publish(step, given):
        writer.publish(tmp_path, step, given, owner)

    @tf.function
    def train(number):
        for variable in model.weights.values():
            variable.assign(tf.zeros_like(variable) + number)

    one = publisher.Publisher(publish, patience_seconds=0.0)
    for step in range(1, 201):
        train(tf.constant(float(step)))
        if step % 10 == 0:
            one.submit(step, lambda: writer_lib.weights_of(model), may_skip=True)
    assert one.wait()

    found = lookup.newer_than(tmp_path, None)
    assert found
    for snapshot in found:
        for value in reader.read(snapshot).weights.values():
            np.testing.assert_array_equal(value, np.float32(snapshot.step))
    assert train.experimental_get_tracing_count() == 1
