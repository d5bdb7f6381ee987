"""The moving average of a network's weights, and the network that is made of it for use."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fer_lib.models.forward import standardize
from fer_lib.models.quantization import quantize

RECALIBRATED_ON = 512  # faces; twelve times as many gave nothing more
LARGEST_BATCH = 256


class MovingAverage:
    """The exponential moving average of a model's weights, batch norm's statistics included.

    Written here because torch's `AveragedModel` copies the first weights instead of averaging them,
    regroups the tensors in each call, and averages counts as if they were weights.

    Args:
        model: is followed; already on its device.
        decay: d of `update`; 0 copies the model.

    Attributes:
        network: holds the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.network, self.decay = copy.deepcopy(model), decay
        self._deployed = copy.deepcopy(model)
        tensors = [[*net.parameters(), *net.buffers()] for net in (self.network, model)]
        pairs = list(zip(*tensors, strict=True))
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the model after step `step`, from 0: a <- d a + (1 - d) m.

        d grows from 0.1 to `decay`, so that the untrained start soon weighs nothing.
        """
        decay = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        # All tensors in one call: on a GPU, one call each would cost more than the network's step.
        averages, weights = zip(*self._moving, strict=True)
        torch._foreach_lerp_(averages, weights, 1 - decay)
        if self._counts:
            counts, news = zip(*self._counts, strict=True)
            torch._foreach_copy_(counts, news)

    def deploy(self, faces: Tensor) -> tuple[nn.Module, dict[str, Tensor]]:
        """The network that goes into use: quantized, its batch norms recalibrated.

        Batch norm's statistics are those of the faces in training, which are turned, mixed and
        partly covered, and of the networks of earlier steps. In use no face is augmented;
        recalibrated over such faces, the statistics fit them (Wu and Johnson 2021, section 3). No
        label is used.

        Args:
            faces: (M, 48, 48) uint8 of the training set.

        Returns:
            The network, which the next call overwrites, and its state dict (CPU, float16).
        """
        weights = quantize(self.network.state_dict())
        network = self._deployed
        network.load_state_dict(weights)
        network.train()
        # An encoder that is kept as it is stays in evaluation mode, and keeps its statistics.
        if any(part.training for part in network.modules() if isinstance(part, nn.BatchNorm2d)):
            # Of one size, to a face: `update_bn` weighs all batches alike.
            batches = faces.chunk(math.ceil(len(faces) / LARGEST_BATCH))
            update_bn([standardize(batch) for batch in batches], network)
        weights |= quantize(dict(network.named_buffers()))
        network.load_state_dict(weights)
        return network, weights
