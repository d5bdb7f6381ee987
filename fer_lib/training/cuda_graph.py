"""A step that a GPU repeats by itself.

A training step is a thousand small pieces of work, and a CPU needs longer to hand them to the GPU
one by one than a GPU needs to do them. So the step is recorded once (a CUDA graph), and from then
on the CPU says one word a step.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which optimizer and compiler make what they keep


class Recorded:
    """Calls `function` on a GPU, from a recording after the first calls.

    Args:
        function: of tensors and numbers, to tensors. It must not wait for the GPU, nor decide
            anything by the numbers in a tensor: the recording repeats what it did once.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self.function = function
        self.shapes: list[torch.Size] = []
        self.stream = torch.cuda.Stream()

    def __call__(self, *inputs: Tensor | float) -> tuple[Tensor, ...]:
        """As `function`; numbers reach it as 0-dimensional tensors.

        The results lie where the next call writes its own: use them before it.
        """
        shapes = [i.shape if isinstance(i, Tensor) else torch.Size() for i in inputs]
        if shapes != self.shapes:  # the first call, or faces of another size
            self.shapes, self.calls, self.graph = shapes, 0, None
            # The recording reads its inputs from where they lay when it was made.
            self.held = [torch.as_tensor(i, device="cuda").clone() for i in inputs]
        for held, given in zip(self.held, inputs, strict=True):
            if isinstance(given, Tensor):
                held.copy_(given)
            else:
                held.fill_(given)
        if self.calls < WARM_UP:
            self.calls += 1
            return self._aside()
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.results = self.function(*self.held)
        self.graph.replay()
        return self.results

    def _aside(self) -> tuple[Tensor, ...]:
        """A plain call, on a stream of its own as recording asks for."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self.function(*self.held)
        torch.cuda.current_stream().wait_stream(self.stream)
        return results
