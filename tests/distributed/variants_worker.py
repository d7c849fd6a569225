"""Trains three steps of every variant in one process; prints JSON.

Usage: variants_worker.py DATA_DIR RUN_DIR, where RUN_DIR holds the exports of a
finished run of three students. TF_CONFIG names one worker.
"""

import json
import pathlib
import sys

from lmcodistill.training import cluster
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks import reload as reload_lib

VARIANTS: dict[str, dict[str, object]] = {
    "none": {"TARGETS": "none"},
    "uniform": {"TARGETS": "uniform"},
    "unigram": {"TARGETS": "unigram"},
    "offline": {"TARGETS": "offline"},
    "cross_entropy": {},
    "kl": {"Distillation.loss": "kl"},
    "reverse_kl": {"Distillation.loss": "reverse_kl"},
    "logit_mse": {"Distillation.loss": "logit_mse"},
    "auto": {
        "WEIGHT_SCHEDULE": "auto",
        "DistillationWeight.auto_after_readings": 0,
        "DistillationWeight.auto_every_steps": 1,
    },
    "temperature": {"Distillation.temperature": 2.0},
    "ring": {"TOPOLOGY": "ring"},
    "rotate": {"TOPOLOGY": "rotate"},
    "reset": {"Exchange.state_on_swap": "reset"},
    "recompute": {"Exchange.state_on_swap": "recompute"},
    "dropout": {"DROPOUT": 0.5},
    "mean": {"AVERAGE_DECAY": 0.9},
    "bfloat16": {"COMPUTE_DTYPE": "bfloat16"},
    "xla": {"Training.xla": "on"},
    # Rates at which two updates show in the loss of any text.
    "sgd": {"OPTIMIZER": "sgd", "LEARNING_RATE": 1.0},
    "adagrad": {"OPTIMIZER": "adagrad", "LEARNING_RATE": 1.0},
    "adamw": {"OPTIMIZER": "adamw", "Optimizer.weight_decay": 0.01},
    "plain": {"LanguageModel.layer_norm": False},
    "tied": {"LanguageModel.tie_embeddings": True, "LanguageModel.embedding_size": 16},
}
FIRST_STEP = 6


def main() -> None:
    """Prints, per variant, three steps' losses and the last teachers."""
    data_dir, run_dir, *common = sys.argv[1:]
    group = cluster.Group()
    results = {}
    for name, knobs in VARIANTS.items():
        bindings = [*common, *(f"{k}={v!r}" for k, v in knobs.items())]
        if name == "offline":
            exports = tuple(f"{run_dir}/students/{k}" for k in (1, 2))
            bindings.append(f"OFFLINE_EXPORTS={exports!r}")
        results[name] = train(group, data_dir, run_dir, bindings)
    print(json.dumps(results))


def train(group, data_dir, run_dir, bindings) -> dict[str, object]:
    """Trains three steps as student 0 of three, reloading before each."""
    loaded = job_lib.load([], bindings)
    job = job_lib.Job(
        data_dir=pathlib.Path(data_dir),
        run_dir=pathlib.Path(run_dir),
        shared_dir=pathlib.Path(run_dir),
        student=0,
        num_students=3,
        config_text=loaded.text,
        **job_lib.settings(loaded),
    )
    inputs = job_lib.open_inputs(job)
    student = student_lib.Student(job, inputs, group)
    loader = reload_lib.Loader(job, inputs)
    reload = reload_lib.Reload(job.policy, group, student, loader, lambda: False)
    steps = []
    for step in range(FIRST_STEP, FIRST_STEP + 3):
        reload(step)
        totals, _ = student.update(step)
        tokens = job.tokens_per_step
        steps.append({k: float(v) / tokens for k, v in totals._asdict().items()})
        steps[-1]["weight"] = student.distillation_weight
    teachers = [[t.peer, t.step] for t in student.teachers.active]
    return {"steps": steps, "teachers": teachers, "traces": student.num_traces}


if __name__ == "__main__":
    main()
