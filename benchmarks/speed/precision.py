"""What half precision and a compiler would save on this processor: parts of a step, one thread.

    python -m benchmarks.speed.precision [--rounds 20]

A part is forward and backward of 2,048 positions: the logits of 3,416 items with their softmax, and
a whole layer but its attention. ``compiled`` wants a C++ compiler; compilation is not counted, and
the number of positions is left open, as packed steps want it. Prints the least processor time of
all rounds, which other work disturbs least.
"""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.speed.__main__ import processor
from training.model.norm import norm_of
from training.model.transformer import TransformerBlock
from training.recipes import ordered

NUM_POSITIONS, NUM_ITEMS = 2_048, 3_416

Part = Callable[[Tensor], Tensor]


def parts() -> dict[str, Part]:
    """Return the parts by name: each from positions to a number, with weights of its own."""
    config = ordered().model
    width = config.model_dim
    items = nn.Parameter(0.1 * torch.randn(NUM_ITEMS, width))
    targets = torch.randint(NUM_ITEMS, (NUM_POSITIONS,))
    block, norm = TransformerBlock(config), norm_of(config)

    def layer(positions: Tensor) -> Tensor:
        return block(positions, lambda _, mixed: mixed[:, :width], None, None).sum()

    def softmax(positions: Tensor) -> Tensor:
        return functional.cross_entropy(norm(positions) @ items.T, targets)

    return {"layer without attention": layer, "softmax over the items": softmax}


def least_ms(part: Part, rounds: int, *, is_half: bool) -> float:
    """Return the processor time of forward and backward in ms, the least of some rounds."""
    positions = torch.randn(NUM_POSITIONS, ordered().model.model_dim, requires_grad=True)
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_half):
            loss = part(positions)
        loss.backward()
        least = min(least, time.process_time() - began)
    return 1e3 * least


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    sys.stdout.write(f"{processor()}, one thread, ms for {NUM_POSITIONS:,} positions\n\n")
    sys.stdout.write("| part | float32 | bfloat16 | float32, compiled |\n|---|---|---|---|\n")
    for name, part in parts().items():
        compiled = torch.compile(part, dynamic=True)
        whole = least_ms(part, given.rounds, is_half=False)
        half = least_ms(part, given.rounds, is_half=True)
        fused = least_ms(compiled, given.rounds, is_half=False)
        sys.stdout.write(f"| {name} | {whole:.1f} | {half:.1f} | {fused:.1f} |\n")


if __name__ == "__main__":
    main()
