r"""The Transformer of `--family transformer` and its update in PyTorch, as a yardstick.

What a user would otherwise write: RMS norms before attention and SwiGLU, rotary
positions, PyTorch's scaled-dot-product attention, no biases, the head tied to the
embedding; Adam, clipping and, optionally, teachers that are read without gradients. It
imports nothing of ours: run it in an environment of its own.

    python -m venv .peer && .peer/bin/pip install torch numpy
    python -m tools.bench train --family transformer --sizes 1000x256x688x4 \
      --batch 8 --window 256 \
      --peer '.peer/bin/python tools/bench/torch_transformer.py' \
      --peer '.peer/bin/python tools/bench/torch_transformer.py --compile'
"""

import argparse
import contextlib
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

HEAD_WIDTH = 64


class Layer(nn.Module):
    """Attention and a feed-forward part, each normalised before and added."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-5) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cos, sin):
        batch, length, width = x.shape
        qkv = self.qkv(self.norms[0](x)).view(batch, length, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        found = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(found.transpose(1, 2).reshape(batch, length, width))
        gate, linear = self.up(self.norms[1](x)).chunk(2, -1)
        return x + self.down(functional.silu(gate) * linear)


def rotated(x, cos, sin):
    """Returns [..., T, W] vectors turned by their positions."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Decoder(nn.Module):
    """From tokens [B, T] to logits [B, T, V]."""

    def __init__(self, vocab_size: int, width: int, hidden: int, num_layers: int):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.layers = nn.ModuleList(Layer(width, hidden) for _ in range(num_layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.half = min(HEAD_WIDTH, width) // 2

    def forward(self, tokens):
        frequencies = 10_000 ** -(torch.arange(self.half) / self.half)
        angles = torch.arange(tokens.shape[1])[:, None] * frequencies
        cos, sin = angles.cos(), angles.sin()
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin)
        return functional.linear(self.norm(x), self.embed.weight)


def main() -> None:
    """Reads the flags, makes the steps, prints."""
    flags = _flags()
    torch.manual_seed(0)
    sizes = (flags.vocab_size, flags.embed_dim, flags.hidden_size, flags.num_layers)
    student = Decoder(*sizes)
    nn.init.normal_(student.embed.weight, std=0.02)
    teachers = [Decoder(*sizes).eval() for _ in range(flags.teachers)]
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, fused=True)
    read = torch.compile(student) if flags.compile else student
    tokens = torch.randint(0, flags.vocab_size, (flags.batch_size, flags.window + 1))
    inputs, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)

    def narrow() -> contextlib.AbstractContextManager:
        return torch.autocast("cpu", torch.bfloat16, enabled=flags.dtype == "bfloat16")

    def step() -> float:
        with narrow():
            with torch.no_grad():
                soft = [t(inputs).float().softmax(-1).flatten(0, 1) for t in teachers]
            logits = read(inputs).float().flatten(0, 1)
        loss = functional.cross_entropy(logits, targets)
        if soft:
            loss = loss + functional.cross_entropy(logits, sum(soft) / len(soft))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    for _ in range(flags.warmup):
        step()
    wall, cpu = [], []
    for _ in range(flags.steps):
        began = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - began[0])
        cpu.append(time.process_time() - began[1])
    compiled = ", compiled" if flags.compile else ""
    print(
        json.dumps(
            {
                "system": f"torch {torch.__version__}{compiled}",
                **vars(flags),
                "step_seconds": statistics.median(wall),
                "step_cpu_seconds": statistics.median(cpu),
                "tokens_per_second": inputs.numel() / statistics.median(wall),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                // 1024,
            }
        )
    )


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = {
        **{"vocab_size": 1_000, "embed_dim": 256, "hidden_size": 688},
        **{"num_layers": 4, "batch_size": 8, "window": 256, "teachers": 0},
        **{"warmup": 2, "steps": 8},
    }
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    return parser.parse_args()


if __name__ == "__main__":
    main()
