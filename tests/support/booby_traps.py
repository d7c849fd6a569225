"""SavedModels that do something to whoever loads them, for the tests of readers.

Each makes a file, its canary: most when they are loaded, one when it is called and
one when it is let go.
"""

import contextlib
import gc
import os
import pathlib
import threading

import tensorflow as tf


class _Resource(tf.saved_model.experimental.TrackableResource):
    """A resource whose makers are written by whoever saved it."""

    def __init__(self, name, initialize=None, destroy=None):
        super().__init__()
        self._shared_name, self._init, self._end = name, initialize, destroy

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(
            shape=[], dtype=tf.int32, shared_name=self._shared_name
        )

    def _initialize(self):
        if self._init:
            self._init()

    def _destroy_resource(self):
        if self._end:
            self._end()


class _Model(tf.Module):
    """A model that needs a resource."""

    def __init__(self, resource):
        super().__init__()
        self.resource = resource

    @tf.function(input_signature=[])
    def score(self):
        return self.resource.resource_handle


class _Signature(tf.Module):
    """A model that writes when it is asked for a score."""

    def __init__(self, canary):
        super().__init__()
        self._canary = canary

    @tf.function(input_signature=[])
    def score(self):
        with tf.control_dependencies([tf.io.write_file(self._canary, "x")]):
            return tf.constant(1)


class _Table(tf.Module):
    """A model that reads a table from a text file as soon as it is loaded."""

    def __init__(self, path):
        super().__init__()
        rows = tf.lookup.TextFileInitializer(
            path, tf.string, 0, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        self.table = tf.lookup.StaticHashTable(rows, -1)

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def score(self, word):
        return self.table.lookup(word)


class _Restored(tf.Module):
    """A model that writes when its variables are restored."""

    def __init__(self, canary):
        super().__init__()
        self.values = _Saveable(canary)

    @tf.function(input_signature=[])
    def score(self):
        return tf.constant(1)


class _Saveable(tf.__internal__.tracking.AutoTrackable):
    def __init__(self, canary):
        super().__init__()
        self._canary = canary

    def _serialize_to_tensors(self):
        return {"value": tf.constant(1.0)}

    def _restore_from_tensors(self, tensors):
        with tf.control_dependencies([tf.io.write_file(self._canary, "x")]):
            return tf.identity(tensors["value"])


def _save(model, folder):
    tf.saved_model.save(model, str(folder), signatures={"score": model.score})


def _at_start(action):
    """Returns what makes a model that acts when it is loaded."""

    def make(folder, canary):
        name = folder.name
        _save(_Model(_Resource(name, lambda: action(str(canary)))), folder)

    return make


def _write(canary):
    tf.io.write_file(canary, "x")


def _copy_a_file(canary):
    tf.io.write_file(canary, tf.io.read_file("/etc/passwd"))


def _print(canary):
    tf.print("x", output_stream=f"file://{canary}")


def _call_python(canary):
    tf.py_function(lambda: pathlib.Path(canary).write_text("x") and None, [], [])


def _begin_a_log(canary):
    log = tf.raw_ops.SummaryWriter(shared_name=canary, container="")
    tf.raw_ops.CreateSummaryFileWriter(
        writer=log, logdir=canary, max_queue=1, flush_millis=1, filename_suffix=""
    )


def _assert(canary):
    with tf.control_dependencies([tf.io.write_file(canary, "x")]):
        tf.debugging.Assert(tf.constant(False), ["stop"])


def _at_the_end(folder, canary):
    _save(_Model(_Resource(folder.name, None, lambda: _write(str(canary)))), folder)


def _in_the_signature(folder, canary):
    _save(_Signature(str(canary)), folder)


def _in_the_restore(folder, canary):
    _save(_Restored(str(canary)), folder)


def _table_of_a_pipe(folder, canary):
    """A table from a pipe: who opens it is seen, and waits."""
    source = folder.with_name(f"{folder.name}.txt")
    source.write_text("one\n")
    _save(_Table(str(source)), folder)
    os.mkfifo(folder.with_name(f"{folder.name}.pipe"))
    (asset,) = (folder / "assets").iterdir()
    asset.unlink()
    asset.symlink_to(folder.with_name(f"{folder.name}.pipe"))

    def tell():
        with contextlib.suppress(OSError), open(asset, "w") as pipe:
            canary.write_text("x")  # Somebody opened the other end.
            pipe.write("one\n")

    threading.Thread(target=tell, daemon=True).start()


# By name, what makes the model, given a folder and its canary.
TRAPS = {
    "initializer writes a file": _at_start(_write),
    "initializer copies /etc/passwd": _at_start(_copy_a_file),
    "initializer prints into a file": _at_start(_print),
    "initializer calls Python": _at_start(_call_python),
    "initializer begins a log": _at_start(_begin_a_log),
    "initializer writes and asserts": _at_start(_assert),
    "restore writes a file": _in_the_restore,
    "table reads a pipe": _table_of_a_pipe,
    "destructor writes a file": _at_the_end,
    "signature writes a file": _in_the_signature,
}


def set_trap(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Saves a trap in `folder`; returns its canary, which is not there."""
    canary = folder.with_name(f"{folder.name}-canary")
    TRAPS[name](folder, canary)
    gc.collect()  # What was saved may act at its own end.
    if canary.exists():
        canary.unlink()
    return canary


def spring(folder: pathlib.Path) -> None:
    """Does what a careless reader does: loads the model and calls it."""
    # It may well fail, afterwards.
    with contextlib.suppress(tf.errors.OpError, TypeError):
        loaded = tf.saved_model.load(str(folder))
        loaded.signatures["score"]()
    loaded = None
    gc.collect()
