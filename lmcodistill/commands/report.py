"""Write a page about a run: curves, peers, restarts, configuration.

The page is one file that opens anywhere and fetches nothing. It shows how far
each student is, its curves, how stale its teachers were and how far it agreed
with them, what befell its processes, the command that goes on, and the whole
configuration. It may be written while the run goes on.

Examples:
  lmcodistill report RUN
  lmcodistill report RUN --output page.html --samples 2 --prompt 'Once upon'
"""

import datetime
import json

from absl import flags

import lmcodistill
from lmcodistill import errors, tf_environment
from lmcodistill.commands import command_flags, export_flags, operands
from lmcodistill.exports import lookup
from lmcodistill.storage import files, layout
from lmcodistill.supervision import journal, status

ARGUMENTS = "RUN"
READS_GIN = False
_SAMPLE_TOKENS = 64


def define_flags(define: command_flags.Definer) -> None:
    """Defines where the page goes, and what it shows besides."""
    define.place(
        "shared_dir",
        "Where the run's exports and checkpoints are, if not in RUN.",
    )
    define.path("output", "The page; RUN/report.html if not given.")
    define.integer(
        "samples",
        0,
        "How many texts each student continues, for show.",
        0,
        command_flags.MOST_ROWS,
    )
    define.string("prompt", "", "How these texts begin.")
    export_flags.define_key(define)


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Writes the page; see the module's text."""
    run_dir = operands.run_folder(arguments, "report RUN")
    from lmcodistill.supervision import run_page

    shared = flag_values.shared_dir
    of_run = layout.RunLayout(run_dir, shared)
    students = status.read_begun(run_dir, shared)
    numbers = of_run.students()
    events = [e for n in numbers for x in journal.of_student(of_run, n) for e in x]
    page = run_page.render(
        run_page.RunHistory(
            name=run_dir.resolve().name,
            students=students,
            reports={
                n: files.read_json_lines(of_run.student(n).metrics) for n in numbers
            },
            events=sorted(events, key=lambda event: event["time"]),
            command=journal.command(of_run),
            config_text=_config_text(of_run),
            samples=_samples(flag_values, of_run) if flag_values.samples else {},
            made=_made(),
        )
    )
    output = flag_values.output or of_run.page
    if output.is_dir():
        raise errors.UsageError(f"--output {output} is a folder; name a file in it.")
    try:
        files.write_text(output, page)
    except OSError as error:
        raise errors.UsageError(
            f"{output} cannot be written: {error.strerror}. Give another --output."
        ) from error
    if flag_values.json:
        print(json.dumps({"page": str(output), "states": [s.state for s in students]}))
        return
    print(f"Wrote {output}")


def _config_text(run: layout.RunLayout) -> str:
    """Returns the run's configuration; under TF_CONFIG each student has it."""
    paths = [run.config, *(run.student(n).config for n in run.students())]
    texts = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
    return texts[0] if texts else "The run has not begun."


def _made() -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Made {now} by lmcodistill {lmcodistill.__version__}."


def _samples(
    flag_values: flags.FlagValues, run: layout.RunLayout
) -> dict[int, list[str]]:
    """Returns texts that the students that have an export continue."""
    key = export_flags.key(flag_values)
    snapshots = {}
    for number in run.students():
        folder = run.student(number).exports
        if status.newest_step(folder, layout.EXPORT) is not None:
            snapshots[number] = lookup.find(str(run.student(number).shared), key)
    # TensorFlow takes seconds to import; everything above is checked without.
    tf_environment.start()
    from lmcodistill.inference import predictor

    return {
        number: predictor.Predictor.read([snapshot]).generate(
            flag_values.prompt,
            num_samples=flag_values.samples,
            num_tokens=_SAMPLE_TOKENS,
        )
        for number, snapshot in snapshots.items()
    }
