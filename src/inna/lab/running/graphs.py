"""Forward and backward pass on a GPU as one CUDA graph: recorded once, then replayed without any Python."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["record"]

WARM_UP = 3
"""Passes before the recording, in which cuDNN and the allocator settle; they leave no trace."""


def record(
    net: nn.Module, loss_of: Callable[[Tensor], Tensor], batch: int, device: str
) -> Callable[[Tensor], Tensor]:
    """Record the gradients of a loss for mini-batches of one size.

    Args:
        net: the network, in training mode and on the device; its parameters may change later, but not move.
        loss_of: from the indices of a mini-batch to its loss, with nothing that waits for the device.
        batch: the number of indices.
        device: a CUDA device.

    Returns:
        A function that sets the gradients of all parameters and returns the loss, valid until the next call.
        The random numbers of dropout go on from call to call.
    """
    with torch.cuda.device(device):
        params = list(net.parameters())
        buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
        random = torch.cuda.get_rng_state()
        chosen = torch.zeros(batch, dtype=torch.int64, device=device)
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                net.zero_grad(set_to_none=True)
                loss_of(chosen).backward()  # type: ignore[no-untyped-call]
        current.wait_stream(side)
        net.zero_grad(set_to_none=True)  # the graph is to write its gradients, not to add to others
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = loss_of(chosen)
            loss.backward()  # type: ignore[no-untyped-call]
        grads, result = [param.grad for param in params], loss.detach()
        torch.cuda.set_rng_state(random)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)

    def replay(indices: Tensor) -> Tensor:
        chosen.copy_(indices)
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad
        graph.replay()
        return result

    return replay
