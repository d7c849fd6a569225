r"""Measures our training step beside other programs' and beside what is possible.

For every size, type and number of teachers: tokens a second, time and CPU time a
step, peak memory; ours over each peer's, as the median of the rounds and its range;
and the floor: the step's matrix products at the rate of this machine.

Every side is a process of its own in every round, one after the other, so that all
of them see the same machine. A ratio is the side's cost over ours in the same round:
above 1, ours needs less.

--peer is a command, without a shell. It gets the flags --vocab_size --embed_dim
--hidden_size --num_layers --batch_size --window --teachers --dtype --warmup --steps
appended, exits with 0, and prints as its last line one JSON object with `system` and
the numbers `step_seconds` and `step_cpu_seconds` (medians), `tokens_per_second` and
`peak_rss_mb`. `python -m tools.bench step` is one, also in another checkout.
Other flags --gin.NAME=VALUE go to our side alone.

Examples:
  python -m tools.bench train --sizes small --rounds 3
  python -m tools.bench train --teachers 0 1 --dtypes float32 bfloat16 \
    --peer '.peer/bin/python torch_lstm_lm.py' \
    --peer '.peer/bin/python torch_lstm_lm.py --compile'
  python -m tools.bench train --json \
    --peer 'env -C OTHER python -m tools.bench step'
  python -m tools.bench train --family transformer --sizes 1000x256x688x4 \
    --batch 8 --window 256 --peer '.peer/bin/python tools/bench/torch_transformer.py'
"""

import argparse
import itertools
import json
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from tools.bench import measuring, workload

FIELDS = ("step_seconds", "step_cpu_seconds", "tokens_per_second", "peak_rss_mb")
# Of these, less is better; they are what ratios are taken of.
COSTS = ("step_seconds", "step_cpu_seconds", "peak_rss_mb")
DTYPES = ("float32", "bfloat16")
OURS = "ours"
HEADS = (
    *("", "tokens/s", "s a step", "CPU s a step", "peak MB"),
    *("time / ours", "CPU / ours", "memory / ours", "CPU / no teacher"),
)

# What each side printed: by number of teachers and side, one object per round.
Runs = dict[tuple[int, str], list[dict[str, Any]]]


def main() -> None:
    """Reads the flags, measures, prints."""
    flags, bindings = _flags()
    ours = [sys.executable, "-m", "tools.bench", "step"]
    # The peers first: one that cannot run is found before anything was spent.
    sides = {peer: shlex.split(peer) for peer in flags.peer}
    sides[OURS] = [*ours, f"--family={flags.family}"]
    sides[OURS] += (f"--gin.{binding}" for binding in bindings)
    if flags.teacher_dtype:
        sides[OURS] += ["--teacher_dtype", flags.teacher_dtype]
    blocks = list(itertools.product(flags.sizes, flags.dtypes))
    total = len(blocks) * flags.rounds * len(flags.teachers) * len(sides)
    progress = measuring.Progress(total)
    for size, dtype in blocks:
        runs = _runs(flags, size, dtype, sides, progress)
        for teachers in flags.teachers:
            _show(_case(flags, size, dtype, teachers, runs), flags.json)


def _flags() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = workload.Size.parse
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        default=[size("paper")],
        metavar="SIZE",
        help=f"{', '.join(workload.SIZES)}, or VxDxHxLAYERS",
    )
    parser.add_argument("--family", choices=workload.FAMILIES, default="lstm")
    parser.add_argument("--dtypes", choices=DTYPES, nargs="+", default=["float32"])
    parser.add_argument("--teachers", type=int, nargs="+", default=[0])
    parser.add_argument("--teacher_dtype", choices=DTYPES, help="of ours")
    parser.add_argument("--batch", type=int, default=32, help="streams")
    parser.add_argument("--window", type=int, default=32, help="tokens per stream")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each side")
    parser.add_argument("--warmup", type=int, default=2, help="steps that do not count")
    parser.add_argument("--steps", type=int, default=8, help="steps of each process")
    parser.add_argument("--peer", action="append", default=[], metavar="COMMAND")
    parser.add_argument("--json", action="store_true", help="one object per case")
    flags, unknown = parser.parse_known_args()
    return flags, workload.split_gin(unknown, parser)


def _runs(flags, size: workload.Size, dtype: str, sides, progress) -> Runs:
    """Runs every side with every number of teachers, round after round."""
    order = list(itertools.product(flags.teachers, sides))
    runs: Runs = {key: [] for key in order}
    for number, (teachers, side) in itertools.product(range(flags.rounds), order):
        given = {
            "vocab_size": size.vocab_size,
            "embed_dim": size.embedding_size,
            "hidden_size": size.hidden_size,
            "num_layers": size.num_layers,
            "batch_size": flags.batch,
            "window": flags.window,
            "teachers": teachers,
            "dtype": dtype,
            "warmup": flags.warmup,
            "steps": flags.steps,
        }
        words = [f"--{name}={value}" for name, value in given.items()]
        result = measuring.measure([*sides[side], *words], FIELDS)
        runs[teachers, side].append(result)
        progress.done(
            f"round {number + 1}, {size}, {dtype}, {teachers} teachers: {side}: "
            f"{result['step_cpu_seconds']:.3g} CPU s a step"
        )
    return runs


def _case(flags, size, dtype: str, teachers: int, runs: Runs) -> dict[str, Any]:
    """Returns what came out of one size, type and number of teachers."""
    sides = list(dict.fromkeys(side for _, side in runs))
    ours = runs[teachers, OURS]
    results = {side: _side(side, runs, teachers) for side in sides}
    return {
        "size": str(size),
        "dtype": dtype,
        "teachers": teachers,
        "batch_size": flags.batch,
        "window": flags.window,
        "rounds": flags.rounds,
        "steps": flags.steps,
        "ours": results.pop(OURS) | {"num_traces": max(r["num_traces"] for r in ours)},
        "floor": _floor(ours),
        "peers": list(results.values()),
    }


def _side(side: str, runs: Runs, teachers: int) -> dict[str, Any]:
    theirs, ours = runs[teachers, side], runs[teachers, OURS]
    values = {name: [run[name] for run in theirs] for name in FIELDS}
    result = {
        "system": theirs[0].get("system", side),
        "command": side,
        **{name: measuring.spread(values[name]) for name in FIELDS},
        "over_ours": {n: _ratio(theirs, ours, n) for n in COSTS},
    }
    if teachers and (0, side) in runs:
        plain = runs[0, side]
        result["over_no_teacher"] = {n: _ratio(theirs, plain, n) for n in COSTS}
    return result


def _ratio(
    above: Sequence[dict[str, Any]], below: Sequence[dict[str, Any]], name: str
) -> measuring.Spread:
    return measuring.ratio([r[name] for r in above], [r[name] for r in below])


def _floor(ours: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the floors of all rounds, and what share of our step each is."""
    floors_of: dict[str, Any] = {}
    for rate in ("best_rate", "own_rates"):
        of_rate = floors_of[rate] = {"over_ours": {}}
        for unit in ("seconds", "cpu_seconds"):
            name = f"step_{unit}"
            floors = [run["floor"][unit][rate] for run in ours]
            of_rate[name] = measuring.spread(floors)
            steps = [run[name] for run in ours]
            of_rate["over_ours"][name] = measuring.ratio(floors, steps)
    return floors_of | {"products": ours[-1]["floor"]["products"]}


def _show(case: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(case), flush=True)
        return
    rows = {
        f"{case['ours']['system']} (ours)": case["ours"],
        "floor, all products at the best rate": case["floor"]["best_rate"],
        "floor, each product at its own rate": case["floor"]["own_rates"],
    }
    rows |= {_name(peer): peer for peer in case["peers"]}
    measuring.show(
        f"{case['size']}, {case['dtype']}, {case['teachers']} teachers, "
        f"{case['batch_size']} x {case['window']} tokens: medians of {case['rounds']} "
        f"rounds of {case['steps']} steps (lowest..highest)",
        HEADS,
        [
            (
                name,
                *(_median(row, n) for n in ("tokens_per_second", *COSTS)),
                *(measuring.text(row["over_ours"].get(n)) for n in COSTS),
                measuring.text(row.get("over_no_teacher", {}).get("step_cpu_seconds")),
            )
            for name, row in rows.items()
        ],
    )


def _median(row: dict[str, Any], name: str) -> str:
    return measuring.text(row[name]["median"] if name in row else None)


def _name(peer: dict[str, Any]) -> str:
    """Returns what a peer calls itself, and the flags that tell it from others."""
    words = shlex.split(peer["command"])
    first = next((k for k, w in enumerate(words) if w.startswith("--")), len(words))
    return " ".join([peer["system"], *words[first:]])
