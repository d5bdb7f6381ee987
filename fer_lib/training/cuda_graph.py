"""A step that a GPU repeats by itself.

A training step is a thousand small kernels, and a CPU needs longer to launch them one by one than a
GPU needs to run them. So the step is captured once (a CUDA graph), and from then on the CPU
launches the whole graph.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture, in which optimizer and compiler make what they keep


class GraphedStep:
    """Calls `function` on a GPU, from a CUDA graph after the first calls.

    Args:
        function: of tensors and numbers, to tensors. It must not wait for the GPU, nor decide
            anything by the values in a tensor: the graph repeats what it did once.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self.shapes: list[torch.Size] = []
        self.stream = torch.cuda.Stream()

    def __call__(self, *inputs: Tensor | float) -> tuple[Tensor, ...]:
        """As `function`; numbers reach it as 0-dimensional tensors.

        The next call overwrites the results: use them before it.
        """
        shapes = [i.shape if isinstance(i, Tensor) else torch.Size() for i in inputs]
        if shapes != self.shapes:  # the first call, or faces of another size
            self.shapes, self.calls, self.graph = shapes, 0, None
            # The graph reads its inputs from where they lay when it was captured.
            self.inputs = [torch.as_tensor(i, device="cuda").clone() for i in inputs]
        for static, given in zip(self.inputs, inputs, strict=True):
            if isinstance(given, Tensor):
                static.copy_(given)
            else:
                static.fill_(given)
        if self.calls < WARM_UP:
            self.calls += 1
            return self._aside()
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.results = self.function(*self.inputs)
        self.graph.replay()
        return self.results

    def _aside(self) -> tuple[Tensor, ...]:
        """A plain call, on a separate stream as the capture asks for."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self.function(*self.inputs)
        torch.cuda.current_stream().wait_stream(self.stream)
        return results
