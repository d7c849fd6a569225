"""What the numbers say, in sentences that follow from them either way."""

from lmcodistill.experiments import results

# Nats per token; smaller differences matter to no one, whatever the interval.
NEGLIGIBLE = 0.005


def conclusion(result: results.ArmResult) -> str:
    """Returns one sentence on an arm against the baseline."""
    difference = result.difference
    name = result.arm.description[:1].upper() + result.arm.description[1:]
    if difference.num_values == 1:
        return (
            f"{name}: {difference.mean:+.4f} nats per token from the baseline with one "
            "seed, which says nothing of chance; give more --seeds."
        )
    spread = (
        f"{difference.mean:+.4f} nats per token, 95 % interval {difference.low:+.4f} "
        f"to {difference.high:+.4f} over {difference.num_values} seeds"
    )
    if not difference.excludes_zero:
        return f"{name}: no difference that these seeds can show ({spread})."
    if abs(difference.mean) < NEGLIGIBLE:
        return (
            f"{name}: no difference that matters ({spread}; less than {NEGLIGIBLE} "
            "counts as none)."
        )
    word = "better" if difference.mean < 0 else "worse"
    return f"{name}: {word} than the baseline ({spread}){_speed(result)}"


def _speed(result: results.ArmResult) -> str:
    if result.arm.is_ensemble:
        return "; it needs every one of the models to answer."
    if result.steps_to_target is None:
        return "; not every seed came down to the baseline's best."
    if result.step_ratio is None or result.step_ratio <= 1.0:
        return "."
    text = (
        f"; as good as the baseline's best after {result.steps_to_target:,.0f} steps, "
        f"{result.step_ratio:.2f} times fewer"
    )
    if result.device_ratio is not None:
        text += f", for {1.0 / result.device_ratio:.2f} times the device seconds"
    return f"{text}."
