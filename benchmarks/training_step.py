"""Where the time of a training step goes: `uv run python benchmarks/training_step.py`

Everything runs interleaved in one process, so that the shares can be trusted on a noisy machine
even where the seconds cannot. The goal: at most 10 % of a step outside forward and backward.
"""

import itertools
import statistics
import time

import torch
import torch.nn.functional as F

from fer_lib.augment import augment, standardise
from fer_lib.model import MSFERNet
from fer_lib.params import Augmentation, Training
from fer_lib.training import make_optimizer, update_average

BATCH, STEPS, WARM_UP = 128, 20, 3


def main() -> None:
    """Print the median time of each part, and its share."""
    settings = Training(seed=0, epochs=1, batch_size=BATCH, lr=1e-3)
    numbers = torch.Generator().manual_seed(0)
    everything = torch.randint(0, 256, (4096, 48, 48), dtype=torch.uint8, generator=numbers)
    labels = torch.randint(0, 7, (4096,), generator=numbers)
    model = MSFERNet(7).to(memory_format=torch.channels_last)
    average = MSFERNet(7).to(memory_format=torch.channels_last)
    optimizer = make_optimizer(model, settings)
    parts: dict[str, list[float]] = {}

    for step in range(WARM_UP + STEPS):
        marks = [("", time.perf_counter())]
        chosen = torch.randperm(len(everything), generator=numbers)[:BATCH]
        faces = standardise(augment(everything[chosen], Augmentation(), numbers))
        marks.append(("choose, augment, standardise", time.perf_counter()))
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(faces), labels[chosen])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(("forward and backward", time.perf_counter()))
        optimizer.step()
        marks.append(("optimizer", time.perf_counter()))
        update_average(average, model, 0.99, step)
        marks.append(("moving average", time.perf_counter()))
        if step >= WARM_UP:
            for (_, begin), (name, end) in itertools.pairwise(marks):
                parts.setdefault(name, []).append(end - begin)

    medians = {name: statistics.median(times) for name, times in parts.items()}
    total = sum(medians.values())
    for name, seconds in medians.items():
        print(f"{name:30} {1000 * seconds:8.1f} ms {100 * seconds / total:6.1f} %")
    title = f"step of {BATCH} faces"
    print(f"{title:30} {1000 * total:8.1f} ms, {BATCH / total:.0f} faces/s")
    outside = 1 - medians["forward and backward"] / total
    print(f"outside forward and backward: {100 * outside:.1f} % (goal: at most 10 %)")


if __name__ == "__main__":
    main()
