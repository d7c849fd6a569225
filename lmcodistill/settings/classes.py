"""Which classes gin files can bind: those of a training run, and all there are."""

from lmcodistill.settings import (
    codistillation,
    model,
    planning,
    prep,
    schedules,
    training,
)

# Of a training run, by the field of `training.job.Job` that holds them. For
# `ModelConfig` stands the class of the family that `ModelFamily` names.
TRAIN: dict[str, type] = {
    "model": model.ModelConfig,
    "batches": training.Batches,
    "optimizer": training.Optimizer,
    "training": training.Training,
    "learning_rate": schedules.LearningRate,
    "weight": schedules.DistillationWeight,
    "distillation": codistillation.Distillation,
    "exchange": codistillation.Exchange,
}

ALL: tuple[type, ...] = (
    model.ModelFamily,
    *TRAIN.values(),
    *prep.PREP_SETTINGS,
    *planning.PLAN_SETTINGS,
)
