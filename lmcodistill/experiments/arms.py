"""What can be compared: arms, and the training runs that each needs.

An arm is a way to train one model. It differs from the baseline in a few
settings. First weights and the order of text follow from the seed, the same for
all arms but for those whose description says otherwise. So arms are compared in
pairs.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence

from lmcodistill import errors

BASELINE = "baseline"
CODISTILLED = "codistilled"
# Seeds this far apart share no student's first weights or order: student i adds i.
SEED_STRIDE = 1_000
# What a run adds to the seed of its weights to share none with its pupils.
_OF_ITS_OWN = 100

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BINDING = re.compile(r"[A-Za-z_.]+=\S+")
_SEEDS = {"SEED", "Training.seed", "ORDER_SEED", "Batches.order_seed"}

Bindings = tuple[tuple[str, str], ...]
_NO_BURN_IN: Bindings = (("DistillationWeight.burn_in_steps", "0"),)


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way to train a model.

    Attributes:
        name: In tables and folders.
        description: One line for people.
        students: Students of its run.
        bindings: Settings that make it different, by gin name, as gin text.
        is_ensemble: Whether the students' mean prediction is scored, not
            student 0 alone.
        run_of: The arm whose run this one scores; its own if empty.
        taught_by: The arm whose final exports teach this one, if any.
        num_teachers: How many students of that arm there are.
        seed_offset: Added to the seed of first weights and of dropout; not 0 where a
            run must share neither with the baseline.
        flags: Of `train`, beside the number of students.
    """

    name: str
    description: str
    students: int = 1
    bindings: Bindings = ()
    is_ensemble: bool = False
    run_of: str = ""
    taught_by: str = ""
    num_teachers: int = 0
    seed_offset: int = 0
    flags: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """Name of the run that is scored."""
        return self.run_of or self.name


@dataclasses.dataclass(frozen=True)
class Base:
    """What the arms are derived from: settings of the user's configuration.

    Attributes:
        global_batch_size: Streams of a student.
        num_train_steps: Updates.
        students: Students that teach each other.
        smoothing_weight: Weight of the label smoothing arms.
        period: Steps between two exchanges.
        average_decay: Of the mean of the weights, in the arms that keep one.
        generations: How many follow the first one of the chain.
    """

    global_batch_size: int
    num_train_steps: int
    students: int = 2
    smoothing_weight: float = 0.1
    period: int = 50
    average_decay: float = 0.99
    generations: int = 2


def standard(base: Base) -> dict[str, Arm]:
    """Returns the arms by name, the baseline first."""
    arms = (*_on_own_text(base), *_on_pooled_text(base), *_chain(base))
    return {arm.name: arm for arm in arms}


def _on_own_text(base: Base) -> list[Arm]:
    """Returns the arms whose groups read a partition each."""
    alone, peers, n = _targets("none"), _targets("peers"), base.students
    weight = ("DistillationWeight.weight", str(base.smoothing_weight))
    return [
        Arm(BASELINE, "one group, labels alone", 1, alone),
        batches(base, 2),
        # By the capital name, which schedules that end with training follow.
        Arm(
            "double_steps",
            "one group, twice the steps",
            1,
            (*alone, ("NUM_TRAIN_STEPS", str(2 * base.num_train_steps))),
        ),
        Arm(
            "asynchronous",
            "one group whose workers do not wait for each other",
            1,
            alone,
            flags=("--strategy", "parameter_server"),
        ),
        # A pupil's teachers must not be the pupil itself, one training earlier.
        Arm(
            "independent",
            f"one of {n} groups that never meet, from first weights of their own",
            n,
            alone,
            seed_offset=_OF_ITS_OWN,
        ),
        Arm(
            "ensemble",
            f"the mean prediction of {n} groups that never meet",
            n,
            is_ensemble=True,
            run_of="independent",
        ),
        Arm(
            CODISTILLED,
            f"one of {n} groups that teach each other, each on text of its own",
            n,
            peers,
        ),
        Arm(
            "codistilled_ensemble",
            f"the mean prediction of {n} groups that teach each other",
            n,
            is_ensemble=True,
            run_of=CODISTILLED,
        ),
        Arm(
            "codistilled_same_data",
            f"one of {n} groups that teach each other on the same text",
            n,
            (*peers, ("Batches.same_data", "True")),
        ),
        Arm(
            "ema",
            "one group, the mean of its weights over the updates",
            1,
            (*alone, *_mean(base)),
        ),
        Arm(
            "codistilled_ema",
            f"one of {n} groups taught by the means of each other's weights, and the "
            "mean of its own",
            n,
            (*peers, *_mean(base)),
        ),
        *(
            Arm(
                f"{targets}_smoothing",
                f"one group, labels smoothed towards {towards}",
                1,
                (*_targets(targets), weight, *_NO_BURN_IN),
            )
            for targets, towards in (
                ("uniform", "all pieces alike"),
                ("unigram", "the pieces' frequencies"),
            )
        ),
        Arm(
            "two_phase",
            f"one group taught by {n} groups that were trained before",
            1,
            (*_targets("offline"), *_NO_BURN_IN),
            taught_by="independent",
            num_teachers=n,
        ),
        Arm(
            "weight_averaging",
            f"one of {n} groups of one start whose weights are averaged",
            n,
            (
                ("Distillation.targets", "'none'"),
                ("Exchange.average_weights", "True"),
                ("Training.shared_start", "True"),
                *_scheduled(0, base.period),
            ),
        ),
    ]


def _on_pooled_text(base: Base) -> list[Arm]:
    """Returns the arms whose every group reads the text of all students.

    What `codistilled` has is devices *and* the text of all of them; these rivals
    have that text as well.
    """
    alone, peers, n = _targets("none"), _targets("peers"), base.students
    text = _text_of_all(base)
    own_order: Bindings = (*text, ("OWN_ORDER", "True"))
    double = batches(base, 2)
    return [
        Arm("pooled", "one group, the text of all", 1, (*alone, *text)),
        dataclasses.replace(
            double,
            name="pooled_double_batch",
            description=f"{double.description}, the text of all",
            bindings=(*double.bindings, *text),
        ),
        Arm(
            "pooled_ema",
            "one group, the text of all, the mean of its weights over the updates",
            1,
            (*alone, *text, *_mean(base)),
        ),
        Arm(
            "pooled_independent",
            f"one of {n} groups that never meet, the text of all in an order and from "
            "first weights of its own",
            n,
            (*alone, *own_order),
            seed_offset=_OF_ITS_OWN,
        ),
        Arm(
            "pooled_ensemble",
            f"the mean prediction of {n} groups that never meet, the text of all",
            n,
            is_ensemble=True,
            run_of="pooled_independent",
        ),
        Arm(
            "codistilled_same_text",
            f"one of {n} groups that teach each other, the text of all in an order "
            "of its own",
            n,
            (*peers, *own_order),
        ),
        Arm(
            "pooled_two_phase",
            f"one group taught by {n} groups that were trained before, all on the "
            "text of all",
            1,
            (*_targets("offline"), *_NO_BURN_IN, *text),
            taught_by="pooled_independent",
            num_teachers=n,
        ),
    ]


def _chain(base: Base) -> list[Arm]:
    """Returns born-again generations (Furlanello et al. 2018, arXiv:1805.04770).

    Each is as the first one, `pooled`, but for its first weights and its teacher,
    the generation before. The last is called `chain`.
    """
    arms: list[Arm] = []
    for number in range(1, base.generations + 1):
        arms.append(
            Arm(
                "chain" if number == base.generations else f"chain_{number}",
                f"one group, the text of all, generation {number} after `pooled`, "
                "taught by the one before, from first weights of its own",
                1,
                (*_targets("offline"), *_NO_BURN_IN, *_text_of_all(base)),
                taught_by=arms[-1].name if arms else "pooled",
                num_teachers=1,
                seed_offset=number * _OF_ITS_OWN,
            )
        )
    return arms


def batches(base: Base, factor: int) -> Arm:
    """Returns one group with a batch `factor` times as large."""
    return Arm(
        "double_batch" if factor == 2 else f"batch_x{factor}",
        f"one group, {factor} times the batch",
        1,
        (
            *_targets("none"),
            ("GLOBAL_BATCH_SIZE", str(factor * base.global_batch_size)),
        ),
    )


def delayed(base: Base, steps: int) -> Arm:
    """Returns codistillation with teachers of exactly this staleness at a reload."""
    return Arm(
        f"delay_{steps}",
        f"codistilled, teachers {steps} steps old when they come",
        base.students,
        (*_targets("peers"), *_scheduled(steps, base.period)),
    )


def reloading(base: Base, steps: int) -> Arm:
    """Returns codistillation with an exchange every so many steps."""
    return Arm(
        f"reload_{steps}",
        f"codistilled, an exchange every {steps} steps",
        base.students,
        (*_targets("peers"), *_scheduled(0, steps)),
    )


def _targets(kind: str) -> Bindings:
    return (("Distillation.targets", f"'{kind}'"),)


def _mean(base: Base) -> Bindings:
    return (("AVERAGE_DECAY", str(base.average_decay)),)


def _text_of_all(base: Base) -> Bindings:
    return (("POOLED_PARTITIONS", str(base.students)),)


def _scheduled(delay_steps: int, period: int) -> Bindings:
    return (
        ("Exchange.mode", "'scheduled'"),
        ("Exchange.delay_steps", str(delay_steps)),
        ("Exchange.publish_every_steps", str(period)),
        ("Exchange.reload_every_steps", str(period)),
    )


def variant(text: str, known: Mapping[str, Arm]) -> Arm:
    """Returns an arm from `NAME=ARM KNOB=VALUE ...`.

    Raises:
        UsageError: the text is none, or there is no such arm.
    """
    head, *settings = text.split() or [""]
    name, _, base = head.partition("=")
    if not (_NAME.fullmatch(name) and base in known and name not in known):
        raise errors.UsageError(
            f"--variant={text!r}: expected NAME=ARM KNOB=VALUE ..., where NAME is new "
            f"and ARM is one of {', '.join(known)}."
        )
    if not settings or not all(map(_BINDING.fullmatch, settings)):
        raise errors.UsageError(
            f"--variant={text!r}: expected settings such as DISTILLATION_WEIGHT=0.5 "
            "after the arm, without spaces in them."
        )
    pairs = tuple((k, v) for k, _, v in (s.partition("=") for s in settings))
    if seeds := [knob for knob, _ in pairs if knob in _SEEDS]:
        raise errors.UsageError(
            f"--variant={text!r}: {seeds[0]} is compare's to set: arms are compared "
            "seed by seed. Give --gin.SEED or --gin.ORDER_SEED, from which all arms "
            "begin, or more --seeds."
        )
    arm = known[base]
    return dataclasses.replace(
        arm,
        name=name,
        description=f"{arm.description}; {', '.join(settings)}",
        bindings=(*arm.bindings, *pairs),
        run_of="",
    )


def chosen(names: Sequence[str], reference: str, known: Mapping[str, Arm]) -> list[Arm]:
    """Returns the arms of these names and the reference, in the order of `known`.

    Beside an ensemble as the reference stands the baseline: what is recommended is
    one model, and needs one to be better than.

    Raises:
        UsageError: there is no such arm.
    """
    for name in (*names, reference):
        if name not in known:
            raise errors.UsageError(
                f"there is no arm {name!r}. The arms: {', '.join(known)}."
            )
    wanted = {*names, reference}
    if known[reference].is_ensemble:
        wanted.add(BASELINE)
    return [arm for name, arm in known.items() if name in wanted]


def needed_runs(arms: Sequence[Arm], known: Mapping[str, Arm]) -> list[Arm]:
    """Returns the arms whose runs are trained, teachers before their students."""

    def lineage(arm: Arm) -> Iterator[Arm]:
        if arm.taught_by:
            yield from lineage(known[arm.taught_by])
        yield known[arm.run]

    by_name = {run.name: run for arm in arms for run in lineage(arm)}
    return list(by_name.values())
