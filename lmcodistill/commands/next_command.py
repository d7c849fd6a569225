"""What to type after a command, filled in."""

import pathlib
import shlex


def after_data(data: pathlib.Path, num_partitions: int) -> str:
    """Returns the command that trains on a data folder.

    Two students, however many partitions there are: as few as can teach each other.
    Both read the whole text, each in an order of its own, as `runs/quickstart` has it
    for a small one.
    """
    command = [
        *("lmcodistill", "train", "--gin_file", "runs/quickstart"),
        f"--gin.POOLED_PARTITIONS={num_partitions}",
        *("--students", "2"),
        *("--data_dir", str(data), "--run_dir", f"{data}-run"),
    ]
    return shlex.join(command)
