"""In which type a teacher multiplies: what is asked, what the device can do."""

import pytest

from lmcodistill.codistill import teacher_dtype
from lmcodistill.settings import model as settings

SAPPHIRE_RAPIDS = "sse4_2 avx avx2 avx512f avx512_bf16 wbnoinvd amx_bf16 amx_tile"
ZEN_4 = "sse4_2 avx avx2 avx512f avx512_bf16 clzero"
SKYLAKE = "sse4_2 avx avx2 avx512f avx512bw avx512vl"
HASWELL = "sse4_2 avx avx2 fma bmi1"


def cpuinfo(*flags):
    """Returns what Linux says of processors with these flags."""
    return "\n".join(
        f"processor\t: {k}\nmodel name\t: amx_bf16 of the name\n"
        f"flags\t\t: fpu {flags_of}\nbugs\t\t: spectre_v1\n"
        for k, flags_of in enumerate(flags)
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([SAPPHIRE_RAPIDS] * 2, True),
        ([ZEN_4], True),
        ([SKYLAKE], False),
        ([HASWELL] * 2, False),
        ([ZEN_4, HASWELL], False),
        ([], False),
    ],
)
def test_processors_multiply_bfloat16_where_all_of_them_say_so(flags, expected):
    assert teacher_dtype.multiplies_bfloat16(cpuinfo(*flags), []) == expected


def test_processors_of_another_kind_are_taken_not_to():
    arm = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"

    assert not teacher_dtype.multiplies_bfloat16(arm, [])
    assert not teacher_dtype.multiplies_bfloat16("", [])


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ([(8, 0)], True),
        ([(9, 0), (9, 0)], True),
        ([(7, 5)], False),
        ([(9, 0), (7, 0)], False),
        ([None], False),
    ],
)
def test_with_gpus_the_processors_do_not_count(gpus, expected):
    for flags in (HASWELL, ZEN_4):
        found = teacher_dtype.multiplies_bfloat16(cpuinfo(flags), gpus)

        assert found == expected


@pytest.mark.parametrize(
    ("asked", "peers", "is_native", "expected"),
    [
        ("auto", "float32", True, "bfloat16"),
        ("auto", "float32", False, "float32"),
        ("auto", "bfloat16", False, "bfloat16"),
        ("auto", "float64", True, "float64"),
        ("float32", "bfloat16", True, "float32"),
        ("bfloat16", "float32", False, "bfloat16"),
    ],
)
def test_teacher_multiplies_in(asked, peers, is_native, expected):
    config = settings.LanguageModel(hidden_size=8, compute_dtype=peers)

    found = teacher_dtype.of_teacher(config, asked, is_native)

    assert found == settings.LanguageModel(hidden_size=8, compute_dtype=expected)


def test_this_machine_can_be_asked():
    assert teacher_dtype.is_native_here() in (True, False)
