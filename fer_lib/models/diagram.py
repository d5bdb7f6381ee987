"""A drawing of the encoder, made from the network itself."""

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor, nn

from fer_lib.models.msfernet import FACE_SIZE, MSFERNet, Refinement, count_parameters


@torch.no_grad()
def layer_table(model: MSFERNet) -> list[tuple[str, str, int]]:
    """The parts of the network in the order in which a face passes them.

    Returns:
        (name, shape of the output such as "48 x 48 x 16", parameters) for each part.
    """
    arch, encoder = model.encoder.arch, model.encoder
    scales = " + ".join(f"{kernel}×{kernel}" for kernel in arch.branches)
    fused = {"add": "added", "concat": "stacked"}
    parts: list[tuple[str, nn.Module]] = [
        (f"stage 1\n{scales}\n{fused[arch.fuse_first]}", encoder.stage1),
        ("residual\nblock", encoder.refine1),
        ("3×3\nstride 2", encoder.downsample),
        (f"stage 2\n{scales}\nstacked", encoder.stage2),
        *((_block_name(block), block) for block in encoder.refine2),
        ("dropout,\nlinear", model.classifier),
    ]
    shapes: dict[nn.Module, str] = {}

    def note(module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        channels, *places = output.shape[1:]
        shapes[module] = "×".join(str(n) for n in (*places, channels))

    hooks = [module.register_forward_hook(note) for _, module in parts]
    training = model.training
    model.eval()(torch.zeros(1, 1, FACE_SIZE, FACE_SIZE))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return [(name, shapes[module], count_parameters(module)) for name, module in parts]


def _block_name(block: nn.Module) -> str:
    assert isinstance(block, Refinement)
    stride = block.first[0].stride[0]
    return "residual\nblock" + (f"\nstride {stride}" if stride > 1 else "")


def draw_architecture(model: MSFERNet) -> Figure:
    """Boxes from face to logits, each with what it does, its output's shape and its parameters."""
    rows = [("face", f"{FACE_SIZE}×{FACE_SIZE}×1", 0), *layer_table(model)]
    figure, axis = plt.subplots(figsize=(11, 2.4), layout="constrained")
    for place, (name, shape, parameters) in enumerate(rows):
        scales = name.startswith("stage")
        axis.add_patch(
            FancyBboxPatch(
                (place + 0.1, 0), 0.8, 1, boxstyle="round,pad=0,rounding_size=0.08",
                facecolor="#fde2c0" if scales else "#dcebf7", edgecolor="0.35",
                linewidth=1.8 if scales else 1,
            )
        )  # fmt: skip
        axis.text(place + 0.5, 0.5, name, ha="center", va="center", fontsize=9)
        axis.text(place + 0.5, -0.12, shape, ha="center", va="top", fontsize=9, color="0.25")
        if parameters:
            text = f"{parameters / 1e3:,.1f} k" if parameters < 1e6 else f"{parameters / 1e6:.2f} M"
            axis.text(place + 0.5, 1.1, text, ha="center", va="bottom", fontsize=9, color="0.25")
        if place:
            axis.annotate(
                "", (place + 0.1, 0.5), (place - 0.1, 0.5), arrowprops={"arrowstyle": "->"}
            )
    axis.set(xlim=(0, len(rows)), ylim=(-0.35, 1.35))
    axis.set_axis_off()
    return figure
