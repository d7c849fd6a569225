r"""Train in several ways, and say which is better for your model and data.

Every arm is one way to train; the baseline is one group on the labels alone.
Arms begin with the same weights and read their text in the same order, seed by
seed, so that their differences are compared in pairs; the next seed has other
weights and another order. Each run is a `lmcodistill train` of its own under
--output_dir; runs that have ended are not made again, and one that was stopped
goes on. The report corrects for the number of arms, says "no difference that
matters" where the seeds show that there is none, and "not shown" where they
show nothing. --reference compares any arm with any other. With --tune every arm
is tuned first, at the same cost, on a seed and a half of the validation text
that the comparison does not use. recommended.gin is the best single model at
equal device seconds.

Examples:
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --arms codistilled,double_batch,ensemble --seeds 3
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --delays 0,50,500 --seeds 3 --at_once 4
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --reference pooled \
    --arms pooled,pooled_ensemble,codistilled \
    --tune 'LEARNING_RATE=4e-3,8e-3,16e-3;DROPOUT=0.0,0.2' \
    --tune_arm 'codistilled:DISTILLATION_WEIGHT=0.5,1.0,2.0'
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --reference codistilled_same_data \
    --arms codistilled,codistilled_same_data
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --variant 'gentle=codistilled DISTILLATION_WEIGHT=0.3'
"""

from absl import flags

from lmcodistill.commands import command_flags, tuning_flags
from lmcodistill.experiments import arms as arms_lib


def define_flags(define: command_flags.Definer) -> None:
    """Defines what is compared, how often, and where it goes."""
    define.path("data_dir", "The data folder that prep made.", command_flags.COPY_IT)
    define.path(
        "output_dir",
        "Where runs and report go; given again, the comparison goes on there.",
    )
    define.require("data_dir", "output_dir")
    define.list(
        "arms",
        ["codistilled"],
        "What is compared with the baseline: double_batch, double_steps, asynchronous, "
        "independent, ensemble, codistilled, codistilled_ensemble, "
        "codistilled_same_data, ema, codistilled_ema, uniform_smoothing, "
        "unigram_smoothing, two_phase, "
        "weight_averaging; where every group reads the text of all students: pooled, "
        "pooled_double_batch, pooled_ema, pooled_independent, pooled_ensemble, "
        "codistilled_same_text, pooled_two_phase, chain; or `all`.",
    )
    define.strings("variant", [], "Also an arm of your own: 'NAME=ARM KNOB=VALUE ...'.")
    define.list(
        "batch_factors", [], "Also one group with its batch times each of these."
    )
    define.list(
        "delays",
        [],
        "Also codistillation with teachers of exactly these ages, in steps.",
    )
    define.list(
        "reload_periods",
        [],
        "Also codistillation with an exchange every so many steps.",
    )
    define.string(
        "reference",
        arms_lib.BASELINE,
        "The arm that all others are compared with, seed by seed; trained with them.",
    )
    define.integer(
        "seeds",
        3,
        "Repetitions with other first weights and another order of text; below 3 "
        "little can be said.",
        1,
        1_000,
    )
    most = command_flags.MOST_PROCESSES
    define.integer("students", 2, "Students that teach each other.", 2, most)
    define.integer("workers_per_student", 1, "Processes of each student.", 1, most)
    define.integer(
        "at_once",
        0,
        "Processes side by side, all runs' together, each with as many cores; at "
        "least as many as the largest run has.",
        0,
    )
    tuning_flags.define(define)
    define.heading("Of single arms")
    define.float(
        "smoothing_weight", 0.1, "Weight of uniform and unigram smoothing.", 0.0
    )
    define.float(
        "average_decay",
        0.99,
        "Of the mean of the weights in the arms called ema: about the last hundred "
        "updates, few beside the thousands of a run and many beside the noise of one.",
        0.5,
    )
    define.integer(
        "generations", 2, "How many follow the first one, `pooled`, in a chain.", 1, 8
    )


def run(flag_values: flags.FlagValues) -> None:
    """Makes the runs and reports; see the module's text."""
    # A mistake among the flags is found without all of this.
    from lmcodistill.commands import comparison

    comparison.run(flag_values)
