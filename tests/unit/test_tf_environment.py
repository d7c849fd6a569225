"""TensorFlow started without what nothing here uses."""

import json
import subprocess
import sys

PROGRAM = """
import gc, json, sys
from lmcodistill import tf_environment
tf_environment.start()
import tensorflow as tf
unused = [m for m in ("keras", "pandas", "matplotlib", "IPython") if m in sys.modules]
kept = gc.get_freeze_count()
tf_environment.start()
is_frozen = [kept > 100_000, gc.get_freeze_count() == kept]
optimizer = tf.keras.optimizers.SGD(0.5)
print(json.dumps([unused, is_frozen, gc.isenabled(), float(optimizer.learning_rate)]))
"""


def test_keras_is_imported_only_by_who_asks_for_it_and_the_rest_stays():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == [[], [True, True], True, 0.5]
