"""Adam whose state can leave and come back, so that learning goes on across versions as if it had never stopped."""

from collections.abc import Mapping

import torch
from torch import Tensor

from drn.catalogue import READER_WINDOWS
from drn.config import Config
from drn.network import to_tensors, to_weights
from drn.types import Weights

# Kingma & Ba 2015, Algorithm 1: their recommended defaults
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """θ ← θ − rate · m̂ / (√v̂ + ε). [Kingma & Ba 2015, Algorithm 1] Changes `params` in place."""

    def __init__(
        self, params: Mapping[str, Tensor], rate: float, memory: Weights, shares: Mapping[str, Tensor] | None = None
    ) -> None:
        """
        Args:
            memory: what an earlier optimiser's `memory()` gave, or empty for a fresh start
            shares: by tensor name, the share of the rate with which its weights learn, broadcast to its shape; 1 where none is
        """
        known = to_tensors(memory)
        self.params = params
        self.rate = rate
        self.shares = shares or {}
        self.first = {name: known.get(f"m.{name}", torch.zeros_like(p)) for name, p in params.items()}
        self.second = {name: known.get(f"v.{name}", torch.zeros_like(p)) for name, p in params.items()}
        self.count = int(known["step"].item()) if "step" in known else 0

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], left: float = 1.0) -> None:
        """One step down the gradients, which name every parameter, with what is `left` of the rate."""
        self.count += 1
        correction1, correction2 = 1 - BETA1**self.count, 1 - BETA2**self.count
        for name, gradient in gradients.items():
            m, v = self.first[name], self.second[name]
            m.lerp_(gradient, 1 - BETA1)
            v.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            scale = (v / correction2).sqrt_().add_(EPSILON)
            if name in self.shares:
                scale.div_(self.shares[name])
            self.params[name].addcdiv_(m, scale, value=-self.rate * left / correction1)

    def memory(self) -> Weights:
        """The moments by tensor name, and the step count (exact as float32 up to 16 million)."""
        moments = {f"m.{name}": m for name, m in self.first.items()} | {f"v.{name}": v for name, v in self.second.items()}
        return to_weights(moments | {"step": torch.tensor([float(self.count)])})


def table_shares(params: Mapping[str, Tensor], config: Config) -> dict[str, Tensor]:
    """By tensor name, the share of the rate for A's one-hot properties: content, and the reader's clicks by property.

    An article's provider, category and topics learn at the whole rate: they are few, and each is met often.
    """
    properties = len(READER_WINDOWS) * config.content_slots
    common = config.provider_slots + config.category_slots + config.topic_slots
    shares = {}
    for name, first in (("advantage.content", common), ("advantage.reader", 0)):
        if name in params:
            shares[name] = torch.ones(len(params[name]), 1)
            shares[name][first:properties] = config.table_rate
    return shares
