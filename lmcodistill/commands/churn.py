r"""Say how much predictions differ between models that should be the same.

Retrain a model, and many single predictions change although the cross entropy
does not. Churn is that change: per held-out token, the absolute difference of
the true token's probability, total variation, KL both ways, and whether the
most likely token is another. Give the retrains of one way to train as a group;
several groups are compared with the first one on the same text. A+B is the
ensemble of A and B. Intervals are 95 %: over other texts, by drawing documents,
and, of three models or more, over other retrains, by leaving them out one by
one. Occurrences in training are those in the first ten million tokens of
partition 0, whoever is compared.

Examples:
  lmcodistill churn --data_dir DATA OLD_RUN/students/0 NEW_RUN/students/0
  lmcodistill churn --data_dir DATA \
    --group 'single=S0/students/0,S1/students/0' \
    --group 'ensemble=S0/students/0+S2/students/0,S1/students/0+S3/students/0' \
    --group 'codistilled=C0/students/0,C1/students/0'
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from absl import flags

from lmcodistill import errors, tf_environment
from lmcodistill.commands import command_flags, export_flags, progress_lines
from lmcodistill.exports import lookup
from lmcodistill.storage import publication

if TYPE_CHECKING:
    from lmcodistill.data import shards

ARGUMENTS = "[EXPORT ...]"
READS_GIN = False
# As many training tokens as tell frequent from rare.
_COUNTED_TOKENS = 10_000_000


# Models that should be the same, each by the paths of its members; more than one: an
# ensemble.
Models = list[list[str]]


def define_flags(define: command_flags.Definer) -> None:
    """Defines what is compared, and on what text."""
    define.path("data_dir", "The data folder that prep made.", command_flags.COPY_IT)
    define.require("data_dir")
    define.strings(
        "group",
        [],
        "NAME=A,B,...: models that should be the same, each an export's folder or a "
        "student's; A+B is an ensemble.",
    )
    export_flags.define_key(define)
    define.string("split", "validation", "Which held-out split.")
    define.integer("tokens", 0, "Tokens of it to read; 0: all.", 0)
    define.integer(
        "lanes", 32, "Rows that the text is read in.", 1, command_flags.MOST_ROWS
    )


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Compares; see the module's text."""
    groups = _groups(flag_values.group, arguments)
    flag_values.refuse_missing()
    # A mistake among the flags is found without NumPy.
    from lmcodistill.data import shards

    data = shards.ShardSet(flag_values.data_dir)
    split = data.held_out_split(flag_values.split)
    key = export_flags.key(flag_values)
    snapshots = {
        path: lookup.find(path, key)
        for models in groups.values()
        for path in itertools.chain(*models)
    }
    # TensorFlow takes seconds to import; everything above is checked without.
    tf_environment.start()
    from lmcodistill.experiments import churn

    sums_by_group = _compare(flag_values, data, split, groups, snapshots)
    first, *_ = sums_by_group.values()
    summary = {
        name: {
            "churn": churn.to_json(churn.estimates(sums)),
            "times_the_first": {
                measure: estimate._asdict()
                for measure, estimate in churn.ratios(sums, first).items()
            },
        }
        for name, sums in sums_by_group.items()
    }
    if flag_values.json:
        print(json.dumps({"split": flag_values.split, "groups": summary}))
        return
    _print_tables(summary)


def _groups(texts: list[str], arguments: list[str]) -> dict[str, Models]:
    if len(arguments) == 1:
        raise errors.UsageError(
            f"churn compares at least two models, and {arguments[0]} is one. Give a "
            "retrain of it as well."
        )
    if arguments:
        texts = [*texts, f"models={','.join(arguments)}"]
    groups = {}
    for text in texts:
        name, _, models = text.partition("=")
        paths = [model.split("+") for model in models.split(",")]
        if not name or len(paths) < 2 or not all(map(all, paths)):
            raise errors.UsageError(
                f"--group={text!r}: expected NAME=A,B with at least two models, each "
                "an export or several joined by +."
            )
        groups[name] = paths
    if not groups:
        raise errors.UsageError(
            "churn compares at least two models; `lmcodistill churn --help` has "
            "examples."
        )
    if len(groups) < len(texts):
        raise errors.UsageError("two --group have one name; give each its own.")
    return groups


def _compare(
    flag_values: flags.FlagValues,
    data: shards.ShardSet,
    split: shards.Split,
    groups: dict[str, Models],
    snapshots: dict[str, publication.Snapshot],
) -> dict[str, Any]:
    """Returns the sums of every group, over the same documents."""
    import numpy as np

    from lmcodistill.data import windows
    from lmcodistill.experiments import comparer
    from lmcodistill.exports import manifest, reader
    from lmcodistill.inference import evaluation

    of_data = data.manifest
    expected = manifest.Expected(of_data.vocabulary, of_data.vocab_size)
    train = data.tokens_of(data.train_split(0))
    sample = train.read(0, min(train.num_tokens, _COUNTED_TOKENS))
    occurrences = np.bincount(sample, minlength=of_data.vocab_size)
    sums = {}
    for name, models in groups.items():
        members = {
            path: reader.read(snapshots[path], expected)
            for path in itertools.chain(*models)
        }
        built = {path: export.build() for path, export in members.items()}
        scored = windows.EvaluationWindows(
            data.tokens_of(split),
            streams=flag_values.lanes,
            window=32,
            end_id=of_data.end_id,
            reset_at_documents=evaluation.reset_at_documents(members.values()),
            max_tokens=flag_values.tokens or None,
        )
        compared = comparer.Comparer([[built[p] for p in m] for m in models])
        progress = progress_lines.ProgressLines(name, scored.num_windows, "windows")
        sums[name] = compared.sums(scored, occurrences, progress)
    return sums


def _print_tables(summary: dict[str, Any]) -> None:
    import rich.console

    from lmcodistill.experiments import churn
    from lmcodistill.report import terminal

    first, *others = summary
    head = ("group", *churn.MEASURES)
    console = rich.console.Console()
    rows = [
        [name, *map(_cell, group["churn"][churn.ALL].values())]
        for name, group in summary.items()
    ]
    terminal.show(console, head, rows, title=churn.ALL)
    ratios = [
        [name, *map(_cell, summary[name]["times_the_first"].values())]
        for name in others
    ]
    if ratios:
        terminal.show(console, head, ratios, title=f"times the churn of {first}")
    kinds = [
        [kind, *(_cell(g["churn"][kind]["absolute"]) for g in summary.values())]
        for kind in summary[first]["churn"]
    ]
    terminal.show(console, ("absolute, by kind of token", *summary), kinds)
    console.print("[over other texts]; (over other retrains)", markup=False)


def _cell(estimate: dict[str, float | None]) -> str:
    text = "{mean:.4f} [{low:.4f}, {high:.4f}]".format_map(estimate)
    if estimate["retrains_low"] is None:
        return text
    return text + " ({retrains_low:.4f}, {retrains_high:.4f})".format_map(estimate)
