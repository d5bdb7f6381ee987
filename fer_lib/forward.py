"""Faces in, logits out, batch by batch."""

import torch
from torch import Tensor, nn

from fer_lib.augment import standardise


@torch.inference_mode()
def predict_logits(
    model: nn.Module, images: Tensor, *, flip: bool = False, batch_size: int | None = None
) -> Tensor:
    """Logits (or whatever `model` returns) for many faces, in evaluation mode.

    Args:
        model: maps (B, 1, 48, 48) standardised faces to (B, K).
        images: (N, 48, 48) uint8.
        flip: average with the outputs for the mirror images (test-time augmentation).
        batch_size: faces at a time; decides memory and time, not the result. By default what a
            CPU's cache holds, 64, or on a GPU what fills it, 1024.

    Returns:
        (N, K) float32 on the CPU.
    """
    device = next(model.parameters()).device
    batch_size = batch_size or (64 if device.type == "cpu" else 1024)
    was_training = model.training
    model.eval()
    outputs = []
    for batch in images.split(batch_size):
        faces = standardise(batch.to(device))
        output = model(faces)
        if flip:
            output = (output + model(faces.flip(3))) / 2
        outputs.append(output.float().cpu())
    model.train(was_training)
    return torch.cat(outputs)
