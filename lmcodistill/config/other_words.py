"""What other programs call our knobs."""

# From a flag or a setting in small letters; a name with a dot is a field.
KNOBS = {
    "alpha": "DISTILLATION_WEIGHT",
    "batch": "GLOBAL_BATCH_SIZE",
    "batch_size": "GLOBAL_BATCH_SIZE",
    "bptt": "WINDOW",
    "context_length": "WINDOW",
    "epochs": "NUM_TRAIN_STEPS",
    "gradient_accumulation": "MICRO_BATCHES",
    "iterations": "NUM_TRAIN_STEPS",
    "lr": "LEARNING_RATE",
    "max_steps": "NUM_TRAIN_STEPS",
    "model": "MODEL_FAMILY",
    "precision": "COMPUTE_DTYPE",
    "seq_len": "WINDOW",
    "sequence_length": "WINDOW",
    "steps": "NUM_TRAIN_STEPS",
    "warmup": "LearningRate.warmup_steps",
}
