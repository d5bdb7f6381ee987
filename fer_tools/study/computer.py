"""How this computer trains: what `fer info` prints."""

from fer_lib.params import Training
from fer_lib.precision import (
    COMPILE_PAYS,
    best_device,
    can_compile,
    describe_precision,
    describe_threads,
)


def describe_computer() -> str:
    """What is chosen on this computer where `params.yaml` leaves the choice, and why."""
    device = best_device()
    why = "no C++ compiler was found"
    if can_compile() and device in COMPILE_PAYS:
        why = f"for runs that see {COMPILE_PAYS[device]:,} faces or more, where asked for"
    elif can_compile():
        why = f"not tried on {device}"
    auto = Training(seed=0, epochs=1, batch_size=2, lr=1)
    return (
        f"Training on {device}. {describe_precision(auto)}; torch.compile: {why}; "
        f"{describe_threads()}."
    )
