"""Values that cannot work are refused, by the name of the field."""

import dataclasses

import pytest

from lmcodistill import errors
from lmcodistill.settings import (
    checks,
    codistillation,
    model,
    planning,
    prep,
    schedules,
    training,
)
from lmcodistill.training import job

# Class, what is given, and the field that the refusal begins with.
REFUSED = [
    (model.LanguageModel, {"vocab_size": 1}, "vocab_size"),
    (model.LanguageModel, {"hidden_size": 0}, "hidden_size"),
    (model.LanguageModel, {"num_layers": 0}, "num_layers"),
    (model.LanguageModel, {"dropout": 1.0}, "dropout"),
    (model.LanguageModel, {"dropout": -0.1}, "dropout"),
    (model.LanguageModel, {"init_scale": 0.0}, "init_scale"),
    (model.LanguageModel, {"tie_embeddings": True}, "tie_embeddings"),
    (model.LanguageModel, {"initializer": "normal"}, "initializer"),
    (model.LanguageModel, {"compute_dtype": "float16"}, "compute_dtype"),
    (model.Transformer, {"width": 0}, "width"),
    (model.Transformer, {"width": 24, "num_heads": 8}, "num_heads"),
    (model.Transformer, {"num_heads": 5}, "num_heads"),
    (model.Transformer, {"num_key_value_heads": 5}, "num_key_value_heads"),
    (model.Transformer, {"num_key_value_heads": 0}, "num_key_value_heads"),
    (model.Transformer, {"memory": -1}, "memory"),
    (model.Transformer, {"memory": 8_193}, "memory"),
    (model.Transformer, {"rotary_base": 1.0}, "rotary_base"),
    (model.Transformer, {"dropout": 1.0}, "dropout"),
    (training.Training, {"num_train_steps": 1, "stop_at_step": -1}, "stop_at_step"),
    (schedules.LearningRate, {"base": 0.0}, "base"),
    (schedules.LearningRate, {"schedule": "linear"}, "schedule"),
    (schedules.LearningRate, {"decay_every_steps": 0}, "decay_every_steps"),
    (schedules.LearningRate, {"schedule": "cosine"}, "decay_end_step"),
    (schedules.DistillationWeight, {"weight": -1.0}, "weight"),
    (schedules.DistillationWeight, {"burn_in_steps": -1}, "burn_in_steps"),
    (schedules.DistillationWeight, {"schedule": "step"}, "schedule"),
    (schedules.DistillationWeight, {"schedule": "linear"}, "fall_end_step"),
    (
        schedules.DistillationWeight,
        {"schedule": "cosine", "burn_in_steps": 9, "fall_end_step": 9},
        "fall_end_step",
    ),
    (
        schedules.DistillationWeight,
        {"schedule": "linear", "fall_start_step": 4, "fall_end_step": 4},
        "fall_end_step",
    ),
    (
        schedules.DistillationWeight,
        {"schedule": "linear", "fall_end_step": 4, "final": 1.5},
        "final",
    ),
    (training.Batches, {"window": 0}, "window"),
    (training.Batches, {"global_batch_size": 0}, "global_batch_size"),
    (training.Batches, {"pooled_partitions": -1}, "pooled_partitions"),
    (training.Batches, {"pooled_partitions": 2, "same_data": True}, "pooled_part"),
    (training.Batches, {"order_seed": -1}, "order_seed"),
    (training.Optimizer, {"name": "lion"}, "name"),
    (training.Optimizer, {"clip_norm": -1.0}, "clip_norm"),
    (training.Optimizer, {"weight_decay": 0.1}, "weight_decay"),
    (training.Optimizer, {"momentum": 0.9}, "momentum"),
    (training.Training, {"num_train_steps": 0}, "num_train_steps"),
    (training.Training, {"num_train_steps": 1, "keep_checkpoints": 0}, "keep_che"),
    (training.Training, {"num_train_steps": 1, "evaluate_every_steps": -1}, "eval"),
    (training.Training, {"num_train_steps": 1, "average_decay": 1.0}, "average"),
    (prep.Prep, {"guide_fraction": -0.1}, "guide_fraction"),
    (
        prep.Prep,
        {"validation_fraction": 0.6, "guide_fraction": 0.4},
        "guide_fraction",
    ),
    (planning.Machine, {"matrix_rate": -1.0}, "matrix_rate"),
    (planning.Machine, {"teacher_speedup": 0.0}, "teacher_speedup"),
    (planning.Network, {"latency_seconds": -1.0}, "latency_seconds"),
    (planning.Storage, {"bandwidth": -1.0}, "bandwidth"),
    (codistillation.Distillation, {"targets": "offline"}, "offline_exports"),
    (codistillation.Distillation, {"offline_exports": ("a",)}, "offline_exports"),
    (codistillation.Distillation, {"temperature": 0.0}, "temperature"),
    (codistillation.Distillation, {"final_temperature": 0.0}, "final_temperature"),
    (
        codistillation.Distillation,
        {"final_temperature": 2.0, "loss": "logit_mse"},
        "final_temperature",
    ),
    (
        codistillation.Distillation,
        {"temperature": 2.0, "loss": "logit_mse"},
        "temperature",
    ),
    (codistillation.Distillation, {"gate": "open"}, "gate"),
    (codistillation.Distillation, {"gate": "right", "targets": "unigram"}, "gate"),
    (codistillation.Distillation, {"gate_confidence": 1.5}, "gate_confidence"),
    (codistillation.Distillation, {"loss": "mse"}, "loss"),
    (
        codistillation.Distillation,
        {"teacher_compute_dtype": "float16"},
        "teacher_compute_dtype",
    ),
    (
        codistillation.Distillation,
        {"targets": "uniform", "loss": "logit_mse"},
        "loss",
    ),
    (codistillation.Exchange, {"publish_every_steps": 0}, "publish_every_steps"),
    (codistillation.Exchange, {"mode": "now"}, "mode"),
    (codistillation.Exchange, {"topology": "star"}, "topology"),
    (codistillation.Exchange, {"state_on_swap": "keep"}, "state_on_swap"),
    (codistillation.Exchange, {"delay_steps": -1}, "delay_steps"),
    (codistillation.Exchange, {"export_dtype": "int4"}, "export_dtype"),
    (codistillation.Exchange, {"max_quantization_loss": -0.1}, "max_quantization"),
]


@pytest.mark.parametrize(("cls", "given", "field"), REFUSED)
def test_value_that_cannot_work_is_refused_by_name(cls, given, field):
    with pytest.raises(errors.UsageError, match=rf"^{cls.__name__}\.{field}\w* = "):
        cls(**given)


def test_fingerprint_tells_models_apart():
    first = model.LanguageModel()

    assert first.fingerprint() == model.LanguageModel().fingerprint()
    assert first.fingerprint() != model.LanguageModel(hidden_size=8).fingerprint()


@pytest.mark.parametrize(
    "cls",
    [
        model.LanguageModel,
        schedules.LearningRate,
        schedules.DistillationWeight,
        training.Batches,
        training.Optimizer,
        training.Training,
        codistillation.Distillation,
        codistillation.Exchange,
    ],
)
def test_every_field_is_explained(cls):
    attributes = cls.__doc__.partition("Attributes:")[2]

    for field in dataclasses.fields(cls):
        assert f"        {field.name}: " in attributes


def test_only_lengths_periods_and_patience_may_change_in_a_run():
    free = {
        f"{cls.__name__}.{field.name}"
        for cls in job.SETTINGS.values()
        for field in dataclasses.fields(cls)
        if checks.may_change(cls, field.name)
    }

    assert free == {
        "Batches.micro_batches",
        "Training.num_train_steps",
        "Training.report_every_steps",
        "Training.metrics_sink",
        "Training.checkpoint_every_steps",
        "Training.keep_checkpoints",
        "Training.keep_best_checkpoints",
        "Training.max_failed_saves",
        "Training.recompute",
        "Training.max_skipped_updates",
        "Training.max_rollbacks",
        "Training.evaluate_every_steps",
        "Training.stop_at_step",
        "Training.evaluation_first_token",
        "Training.evaluation_tokens",
        "Training.evaluation_lanes",
        "Training.evaluate_teachers",
        "Distillation.measure_gradients_every_steps",
        "Exchange.deadline_seconds",
        "Exchange.read_deadline_seconds",
        "Exchange.max_teacher_cross_entropy",
        "Exchange.keep_exports",
        "Exchange.keep_export_seconds",
    }
    assert not checks.may_change(job.SETTINGS["exchange"], "deadline")
