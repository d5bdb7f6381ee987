"""What an encoder makes of faces: the space in which alike faces lie close together."""

import torch
from torch import Tensor, nn

from fer_lib.augment import standardise
from fer_lib.progress import progress_bar


@torch.no_grad()
def features(encoder: nn.Module, images: Tensor, title: str, batch_size: int = 64) -> Tensor:
    """Encode faces, in evaluation mode.

    Args:
        encoder: maps (B, 1, 48, 48) standardised faces to (B, F); stays in evaluation mode.
        images: (N, 48, 48) uint8.
        title: of the progress bar.
        batch_size: faces at a time; decides memory, not the result.

    Returns:
        (N, F) float32.
    """
    encoder.eval()
    parts = []
    with progress_bar(len(images), title, unit="face") as bar:
        for batch in images.split(batch_size):
            parts.append(encoder(standardise(batch)).float())
            bar.update(len(batch))
    return torch.cat(parts)
