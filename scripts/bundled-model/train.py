"""Training. Every step is a pure function of the seed and the step: a run that was stopped goes on from its checkpoint and
ends with the same weights."""
from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from corpus import PHASES
from model import Llama, Shape
from text import Batches, Encoder

WEIGHT_DECAY = 0.05
EVERY = 16


@dataclass(frozen=True)
class Plan:
    seed: int = 1
    steps: int = 13_000
    tokens: int = 4096
    """Least tokens of one step."""
    batch: int = 2048
    """Most tokens that go through the network together."""
    document: int = 0
    """The first of the corpus."""
    muon_rate: float = 0.01
    adam_rate: float = 0.01
    warmup: int = 80
    first_steps: int = 9000
    """Of the first cycle of rates: up, level, down. The second begins lower and goes down all the way."""
    decay_share: float = 0.48
    second_rate: float = 0.5

    def _is_level(self, step: int) -> bool:
        return step < self.first_steps * (1 - self.decay_share)

    def rate(self, step: int) -> float:
        """Share of the full rate: up, level, down to a hundredth; and from half of it once more."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if step < self.first_steps:
            return 1.0 if self._is_level(step) else max(0.01, (self.first_steps - step) / (self.first_steps * self.decay_share))
        since = step - self.first_steps
        return self.second_rate * min((since + 1) / self.warmup, max(0.01, (self.steps - step) / (self.steps - self.first_steps)))


@dataclass(frozen=True)
class Refinement(Plan):
    """A further cycle of rates, from weights that were trained before: up, and down all the way."""

    steps: int = 3600
    peak: float = 0.6
    document: int = PHASES[-1]

    def rate(self, step: int) -> float:
        return self.peak * min((step + 1) / self.warmup, max(0.005, (self.steps - step) / self.steps))


def orthogonal(gradients: Tensor) -> Tensor:
    """Newton and Schulz's iteration towards the nearest orthogonal matrices (Jordan and others, "Muon", 2024). A stack of
    matrices that are not taller than wide."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = gradients / (gradients.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        y = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(y, y, y, beta=b, alpha=c), x, beta=a)
    return x


class Muon:
    """Momentum whose step is made orthogonal, for the matrices inside the blocks; those of one shape together."""

    def __init__(self, weights: list[nn.Parameter], rate: float):
        self.rate = rate
        stacks: dict[tuple[int, int], list[nn.Parameter]] = {}
        for weight in weights:
            stacks.setdefault((min(weight.shape), max(weight.shape)), []).append(weight)
        self.stacks = list(stacks.values())
        self.momentum = [torch.zeros(len(stack), *shape) for shape, stack in stacks.items()]

    @torch.no_grad()
    def step(self, share: float) -> None:
        for stack, momentum in zip(self.stacks, self.momentum):
            gradient = torch.stack([_wide(weight.grad) for weight in stack])
            momentum.lerp_(gradient, 0.05)
            for weight, update in zip(stack, orthogonal(gradient.lerp_(momentum, 0.95))):
                scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - self.rate * share * WEIGHT_DECAY)
                weight.add_(_like(update, weight), alpha=-self.rate * share * scale)


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _like(matrix: Tensor, weight: Tensor) -> Tensor:
    return matrix.T if weight.shape[0] > weight.shape[1] else matrix


class Training:
    def __init__(self, plan: Plan, shape: Shape, encoder: Encoder, checkpoint: Path, log: Path, start: dict[str, Tensor] | None = None):
        """`start`: weights to go on from, in place of new ones."""
        torch.manual_seed(plan.seed)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        self.plan, self.checkpoint, self.log = plan, checkpoint, log
        self.batches = Batches(encoder, plan.seed, plan.document, plan.batch)
        self.model = Llama(shape)
        if start:
            self.model.load_state_dict(start)
        for block in self.model.blocks:
            block.compile(dynamic=True)
        matrices = [w for n, w in self.model.named_parameters() if w.dim() == 2 and "embedding" not in n]
        others = [w for n, w in self.model.named_parameters() if w.dim() != 2 or "embedding" in n]
        self.muon = Muon(matrices, plan.muon_rate)
        self.adam = torch.optim.AdamW(others, lr=plan.adam_rate, betas=(0.9, 0.95), weight_decay=0.0)
        self.step = 0
        self.seconds = 0.0
        if checkpoint.exists():
            self._load()

    def run(self, until: int | None = None) -> None:
        plan = self.plan
        last_saved = time.monotonic()
        while self.step < (plan.steps if until is None else until):
            began = time.monotonic()
            loss = self._step()
            self.seconds += time.monotonic() - began
            self.step += 1
            if self.step % 20 == 0:
                line = {"step": self.step, "loss": round(loss, 4), "seconds": round(self.seconds), "documents": self.batches.document}
                with self.log.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if time.monotonic() - last_saved > 120:
                self._save()
                last_saved = time.monotonic()
        self._save()

    def _step(self) -> float:
        plan = self.plan
        taken, tokens = [], 0
        while tokens < plan.tokens:
            taken.append(self._places(*self.batches.next()))
            tokens += taken[-1][0].numel()
        whole = sum(weights.sum() for *_, weights in taken)
        told = 0.0
        for ids, looked_at, weights in taken:
            logits = self.model(ids[:, :-1], looked_at)
            losses = F.cross_entropy(logits, ids[:, 1:].reshape(-1)[looked_at], reduction="none")
            loss = (losses * weights).sum() / whole
            loss.backward()
            told += loss.item()
        share = plan.rate(self.step)
        for group in self.adam.param_groups:
            group["lr"] = plan.adam_rate * share
        self.adam.step()
        self.muon.step(share)
        self.model.zero_grad(set_to_none=True)
        return told

    def _places(self, rows: np.ndarray, row_weights: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, the places whose next token is predicted, and what each of them weighs."""
        weights = torch.from_numpy(row_weights)[:, 1:]
        # of the tokens that are only read every sixteenth is looked at, with sixteen times its weight: logits are dear
        turn = (torch.arange(weights.numel()) % EVERY == self.step % EVERY).view_as(weights) & (weights > 0)
        looked_at = (weights == 1) | turn
        weights = torch.where(weights == 1, 1.0, weights * EVERY).reshape(-1)
        looked_at = looked_at.reshape(-1).nonzero().squeeze(1)
        return torch.from_numpy(rows), looked_at, weights[looked_at]

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(), "adam": self.adam.state_dict(), "muon": self.muon.momentum,
            "step": self.step, "batches": self.batches.state(), "seconds": self.seconds, "plan": asdict(self.plan),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        if json.dumps(state["plan"]) != json.dumps(asdict(self.plan)):
            raise SystemExit(f"{self.checkpoint} was made with another plan; remove it to begin anew")
        self.model.load_state_dict(state["model"])
        self.adam.load_state_dict(state["adam"])
        for mine, kept in zip(self.muon.momentum, state["muon"]):
            mine.copy_(kept)
        self.step, self.seconds = state["step"], state["seconds"]
        self.batches.restore(state["batches"])
