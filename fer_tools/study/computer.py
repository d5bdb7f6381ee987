"""How this computer trains, for `fer info`."""

from fer_lib.params import Training
from fer_lib.precision import (
    COMPILE_PAYS,
    best_device,
    can_compile,
    describe_precision,
    describe_threads,
)


def describe_computer() -> str:
    """The settings chosen on this computer where `params.yaml` has "auto", and the reason."""
    device = best_device()
    why = "no C++ compiler was found"
    if can_compile() and device in COMPILE_PAYS:
        why = f"for runs of {COMPILE_PAYS[device]:,} faces or more, if enabled"
    elif can_compile():
        why = f"not tested on {device}"
    auto = Training(seed=0, epochs=1, batch_size=2, lr=1)
    return (
        f"Training on {device}. {describe_precision(auto)}; torch.compile: {why}; "
        f"{describe_threads()}."
    )
