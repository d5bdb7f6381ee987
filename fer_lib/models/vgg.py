"""Paper B's kind of encoder: a plain chain of convolutions, in the spirit of VGG-S.

What paper B states (Xu et al. 2019): a compact network derived from VGG-S (Chatfield et al. 2014),
which has five convolutions, the first ones with large kernels, three poolings and then fully
connected layers. Chosen here: all widths (about a fiftieth of VGG-S's weights), batch norm, and one
fully connected layer instead of two.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from fer_lib.models.msfernet import FACE_SIZE, conv_bn
from fer_lib.params import VggArchitecture


class VggEncoder(nn.Module):
    """Grey faces to features, without branches, shortcuts or attention."""

    def __init__(self, arch: VggArchitecture | None = None) -> None:
        super().__init__()
        self.arch = arch = arch or VggArchitecture()
        inputs = (1, *arch.widths)
        self.convolutions = nn.ModuleList(
            conv_bn(inputs[i], width, kernel)
            for i, (width, kernel) in enumerate(zip(arch.widths, arch.kernels, strict=True))
        )
        side = FACE_SIZE // 2 ** len(arch.pools)
        self.connected = nn.Linear(arch.widths[-1] * side * side, arch.hidden)
        self.feature_width = arch.hidden

    def forward(self, faces: Tensor) -> Tensor:
        """(B, 1, 48, 48) standardized faces -> (B, feature_width) features, all positive or 0."""
        x = faces
        for number, convolution in enumerate(self.convolutions):
            x = F.relu(convolution(x))
            if number in self.arch.pools:
                x = F.max_pool2d(x, 2)
        return F.relu(self.connected(x.flatten(1)))
