"""Imports TensorFlow without its greetings.

It says on standard error that this machine has no GPU, in words that look like
an error, before any log level counts. What it says is kept back, and shown if
the import fails.
"""

import contextlib
import os
import sys
import tempfile


def start_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, quietly."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            # It warns of collectives that are traced once for each of a model's
            # shapes. What must be traced only once is counted in the log.
            tf.get_logger().setLevel("ERROR")
        except BaseException:
            said.seek(0)
            with contextlib.suppress(OSError):
                os.write(stderr, said.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
