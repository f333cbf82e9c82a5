"""Batch norm over the batch of all processes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gandistill import processes


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose batch is that of all processes together. (torch's SyncBatchNorm refuses CPU tensors.)

    ``counting``: whether batches move the running statistics; off while a forward pass is merely repeated.
    """

    counting = True

    def forward(self, input: Tensor) -> Tensor:
        """Maps [B, K, T, F] normalised; B is this process's share of the batch, T too may differ between processes."""
        if not self.training:
            return super().forward(input)
        if processes.world() == 1:
            mean, variance = self.running_mean, self.running_var
            if not self.counting and mean is not None and variance is not None:
                mean, variance = mean.clone(), variance.clone()
            return F.batch_norm(input, mean, variance, self.weight, self.bias, True, self.momentum or 0.0, self.eps)
        maps = input if input.dtype == torch.float64 else input.float()
        own_count = torch.tensor(input.numel() / input.shape[1], dtype=torch.float64, device=input.device)
        average = processes.mean(own_count)
        share = own_count / average  # exactly 1 where all hold as many values
        mean = processes.differentiable_mean(maps.mean((0, 2, 3)) * share)
        centred = maps - mean.view(1, -1, 1, 1)
        variance = processes.differentiable_mean(centred.square().mean((0, 2, 3)) * share)
        if self.counting and self.running_mean is not None and self.running_var is not None:
            count = average * processes.world()
            self.running_mean.lerp_(mean.detach(), self.momentum or 0.0)
            self.running_var.lerp_(variance.detach() * count / (count - 1), self.momentum or 0.0)
        gain, shift = (self.weight * (variance + self.eps).rsqrt()).view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1)
        return (centred * gain + shift).to(input.dtype)
