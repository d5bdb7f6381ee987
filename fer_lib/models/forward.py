"""Faces in, logits out, batch by batch."""

import torch
from torch import Tensor, nn

from fer_lib.progress import progress_bar


def standardize(images: Tensor) -> Tensor:
    """Each face to mean 0 and deviation 1, which removes exposure and contrast.

    Args:
        images: (B, 48, 48) uint8, or float in 0..255.

    Returns:
        (B, 1, 48, 48) float32. A blank image becomes all zeros.
    """
    x = images.float().unsqueeze(1)
    x = x - x.mean(dim=(2, 3), keepdim=True)
    return x / x.std(dim=(2, 3), keepdim=True, correction=0).clamp(min=1.0)


@torch.inference_mode()
def predict_logits(
    model: nn.Module,
    images: Tensor,
    *,
    batch_size: int | None = None,
    title: str = "",
) -> Tensor:
    """Logits (or whatever `model` returns) for many faces, in evaluation mode.

    Args:
        model: maps (B, 1, 48, 48) standardized faces to (B, K).
        images: (N, 48, 48) uint8.
        batch_size: faces at a time; decides memory and time, not the result. By default what a
            CPU's cache holds, 64, or on a GPU what fills it, 1024.
        title: of a progress bar; without one there is none.

    Returns:
        (N, K) float32 on the CPU.
    """
    device = next(model.parameters()).device
    batch_size = batch_size or (64 if device.type == "cpu" else 1024)
    was_training = model.training
    model.eval()
    outputs = []
    with progress_bar(len(images), title, unit="face", disable=not title) as bar:
        for batch in images.split(batch_size):
            outputs.append(model(standardize(batch.to(device))).float().cpu())
            bar.update(len(batch))
    model.train(was_training)
    return torch.cat(outputs)
