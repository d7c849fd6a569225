"""Cross entropies in the other units that people compare models in, and as text."""

import math

# Beyond it there is no number.
_MAX_EXPONENT = 700.0


def perplexity(cross_entropy: float) -> float:
    """Returns the perplexity of a mean cross entropy in nats."""
    return math.exp(min(cross_entropy, _MAX_EXPONENT))


def bits_per_byte(nats: float, num_bytes: int) -> float:
    """Returns a sum of nats over a text of so many bytes in bits per byte."""
    return nats / math.log(2.0) / max(num_bytes, 1)


def of_perplexity(cross_entropy: float | None) -> str:
    """Returns the perplexity as text, with four digits or more; - where it is none."""
    if cross_entropy is None:
        return "-"
    value = perplexity(cross_entropy)
    return f"{value:.4g}" if value < 1e3 or value > 1e9 else f"{value:,.0f}"


def number(value: float | None, form: str) -> str:
    """Returns a number as text; - where there is none."""
    return "-" if value is None else format(value, form)


def duration(seconds: float | None) -> str:
    """Returns a time as minutes and seconds, with hours where there are some."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(num_bytes: float) -> str:
    """Returns a number of bytes as people write it: `177.6 MB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:,.1f} {unit}"
    return f"{num_bytes / 1e3:,.1f} kB"
