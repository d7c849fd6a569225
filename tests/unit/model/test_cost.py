"""What a step costs, against counts made by hand."""

from lmcodistill.model import cost
from lmcodistill.settings import model as settings

PAPER = settings.LanguageModel()
SIZES = (PAPER, 24_006, 32, 32)


def test_reading_the_papers_batch_costs_its_six_kinds_of_matmul():
    matmuls = cost.forward(*SIZES).matmuls

    assert cost.flops(matmuls) == 2 * 1024 * (
        256 * 4096 + 1024 * 4096 + 2 * 1024 * 4096 + 1024 * 24_006
    )


def test_only_the_recurrence_is_sequential():
    sequential = [p for p in cost.step(*SIZES) if p.is_sequential]

    assert {(p.rows, p.times) for p in sequential} == {(32, 32)}
    assert {(p.inner, p.columns) for p in sequential} == {(1024, 4096), (4096, 1024)}


def test_an_update_costs_three_readings():
    assert cost.flops(cost.step(*SIZES)) == 3 * cost.flops(cost.forward(*SIZES).matmuls)


def test_batch_of_the_paper_keeps_what_its_layers_backward_passes_need():
    forward = cost.forward(*SIZES)

    # Inputs; per unit c, tanh(c), the output, four gates, four normalised sums.
    assert forward.kept == 1024 * (256 + 1024 + 2 * 11 * 1024)
    assert forward.carried == 32 * 2 * 2 * 1024
    assert forward.kept_by(recompute=True) == 1024 * (256 + 1024 + 11 * 1024)


# 6 queries for 2 keys and values, of width 4.
SMALL = settings.Transformer(
    width=24,
    num_layers=3,
    num_heads=6,
    num_key_value_heads=2,
    feed_forward_width=10,
    memory=7,
)


def test_transformer_costs_six_kinds_of_matmul_a_layer_and_its_logits():
    matmuls = cost.forward(SMALL, 50, streams=2, window=5).matmuls

    # 10 positions; per head 5 queries, each of 12 keys.
    projections = 10 * (24 * 40 + 24 * 24 + 24 * 20 + 10 * 24)
    scores_and_means = 2 * 2 * 6 * 5 * 12 * 4
    assert cost.flops(matmuls) == 2 * (
        3 * (projections + scores_and_means) + 10 * 24 * 50
    )
    assert not any(m.is_sequential for m in matmuls)


def test_update_of_a_transformer_costs_three_readings_by_products_of_its_sizes():
    sizes = (SMALL, 50, 2, 5)
    step = cost.step(*sizes)

    assert cost.flops(step) == 3 * cost.flops(cost.forward(*sizes).matmuls)
    # Keys of a group have a gradient of their own, in each layer and stream.
    assert (4, 15, 12, 12, False) in step


def test_transformer_keeps_its_probabilities_and_carries_keys_and_values():
    forward = cost.forward(SMALL, 50, streams=2, window=5)

    # Per layer 2 streams x 12 tokens x 2 groups x 4 numbers, keys and values.
    assert forward.kept == 3 * (10 * (8 * 24 + 6 * 12 + 5 * 10) + 2 * 2 * 12 * 8)
    assert forward.carried == 3 * 2 * 2 * 7 * 8 + 2 * 7
    # The residual stream and the memory of three layers, and all else of one.
    one_layer = 10 * (8 * 24 + 6 * 12 + 5 * 10) + 2 * 2 * 12 * 8
    expected = 3 * 10 * 24 + one_layer + 3 * 2 * 2 * 7 * 8
    assert forward.kept_by(recompute=True) == expected


def test_transformer_124m_has_as_many_weights_as_the_small_gpt_2():
    # 50,257 x 768; 12 times qkv, output, gate and linear, output, two gains; a gain.
    layer = 768 * (3 * 768 + 768 + 3 * 2048 + 2)
    expected = 50_257 * 768 + 12 * layer + 768

    assert cost.weight_bytes(settings.Transformer(), 50_257) == 4 * expected
    assert round(expected, -6) == 124_000_000


def test_bytes_of_the_papers_weights_are_four_each():
    assert cost.weight_bytes(PAPER, 24_006) == 4 * 44_399_558


def test_narrower_exports_are_half_and_a_little_over_a_quarter():
    whole, half, quarter = (
        cost.export_bytes(PAPER, 24_006, dtype)
        for dtype in ("float32", "bfloat16", "int8")
    )

    # Vectors stay: shifts and gains of two layers, one bias. A scale for each of
    # 24,006 rows twice and each of 4,096 columns four times.
    vectors = 4 * 4_096 + 24_006
    matrices = 44_399_558 - vectors
    assert whole == 4 * 44_399_558
    assert half == 4 * vectors + 2 * matrices
    assert quarter == 4 * vectors + matrices + 4 * (2 * 24_006 + 4 * 4_096)


def test_an_adam_update_moves_the_weights_eight_times():
    # The gradient for its norm; weights, gradient and two slots; weights and slots.
    assert cost.update_bytes(100, num_slots=2) == 100 + 400 + 300
