"""What the numbers say, in sentences that follow from them either way."""

from collections.abc import Sequence

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import measures

# Nats per token; smaller differences matter to no one, whatever the interval.
NEGLIGIBLE = 0.005


def verdict(line: measures.Line) -> str:
    """Returns one sentence on an arm against the baseline."""
    found = line.difference
    name = _capital(line.arm.what)
    if found.num_values == 1:
        return (
            f"{name}: {found.mean:+.4f} nats per token from the baseline with one "
            "seed, which says nothing of chance; give more --seeds."
        )
    spread = (
        f"{found.mean:+.4f} nats per token, 95 % interval {found.low:+.4f} to "
        f"{found.high:+.4f} over {found.num_values} seeds"
    )
    if not found.excludes_zero:
        return f"{name}: no difference that these seeds can show ({spread})."
    if abs(found.mean) < NEGLIGIBLE:
        return (
            f"{name}: no difference that matters ({spread}; less than {NEGLIGIBLE} "
            "counts as none)."
        )
    word = "better" if found.mean < 0 else "worse"
    return f"{name}: {word} than the baseline ({spread}){_speed(line)}"


def _speed(line: measures.Line) -> str:
    if line.arm.is_ensemble:
        return "; it needs every one of the models to answer."
    if line.steps_to_target is None:
        return "; not every seed came down to the baseline's best."
    if line.step_ratio is None or line.step_ratio <= 1.0:
        return "."
    text = (
        f"; as good as the baseline's best after {line.steps_to_target:,.0f} steps, "
        f"{line.step_ratio:.2f} times fewer"
    )
    if line.device_ratio is not None:
        text += f", for {1.0 / line.device_ratio:.2f} times the device seconds"
    return f"{text}."


def verdicts(lines: Sequence[measures.Line]) -> list[str]:
    """Returns a sentence for every arm but the baseline."""
    return [verdict(one) for one in lines if one.arm.name != arms_lib.BASELINE]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
