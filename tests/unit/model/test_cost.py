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
