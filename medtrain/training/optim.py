"""Optimizers and learning-rate schedules, and their state as named tensors and plain JSON."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, LRScheduler, ReduceLROnPlateau

from medtrain.config.rules import lower_is_better
from medtrain.config.schema import OptimConfig, ScheduleConfig
from medtrain.core.errors import InputError


def make_optimizer(config: OptimConfig, model: nn.Module) -> Optimizer:
    """The optimizer; weight decay spares norms and biases, which are the one-dimensional parameters."""
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, "lr": config.lr * share}
        for share, layer in layers(config, model)
        for decay, parameters in (
            (config.weight_decay, [p for p in layer if p.ndim > 1]),
            (0.0, [p for p in layer if p.ndim <= 1]),
        )
        if parameters or share == 1
    ]
    fused = next(model.parameters()).is_cuda
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, nesterov=True, fused=fused)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, fused=fused)


def layers(config: OptimConfig, model: nn.Module) -> list[tuple[float, list[nn.Parameter]]]:
    """Parameters that share a learning rate, from the last layer to the first: (share of the rate, parameters).

    With a layer decay of d, layer i of n has d ** (n - 1 - i) of the rate (Bao et al., ICLR 2022). InputError for a
    network whose layers timm does not know.
    """
    about: Any = model
    if config.layer_decay == 1:
        return [(1.0, [p for p in model.parameters() if p.requires_grad])]
    if not hasattr(model, "group_matcher"):
        raise InputError(
            f"layer_decay needs to know the layers of the network, and {type(model).__name__} does not name them",
            "choose a backbone of timm, or --layer_decay 1",
        )
    from timm.models import group_parameters

    parameters = dict(model.named_parameters())
    found = group_parameters(model, about.group_matcher(coarse=False), reverse=True)
    layer_of = {name: found[name] for name in parameters}
    last = max(layer_of.values())
    return [
        (config.layer_decay ** (last - layer), [p for name, p in parameters.items() if layer_of[name] == layer])
        for layer in sorted(set(layer_of.values()), reverse=True)
    ]


class Schedule:
    """Moves the learning rate once an epoch. The rules are PyTorch's own."""

    def __init__(self, config: ScheduleConfig, optimizer: Optimizer, epochs: int, watch: str = "loss") -> None:
        self._optimizer = optimizer
        self._of = watch if config.plateau_of == "monitor" else "loss"
        self._rule: ReduceLROnPlateau | LRScheduler | None = None
        if config.schedule == "plateau":
            self._rule = ReduceLROnPlateau(
                optimizer,
                mode="min" if lower_is_better(self._of) else "max",
                factor=config.factor,
                patience=config.plateau_patience,
                min_lr=[config.min_lr * group["lr"] / self.lr for group in optimizer.param_groups],
                eps=0,  # else the smallest rates of a layer decay are cut no more
            )
        elif config.schedule == "cosine":
            self._rule = CosineAnnealingLR(optimizer, T_max=epochs, eta_min=config.min_lr)
        elif config.schedule == "warm_restarts":
            first, growth = config.restart_epochs, config.restart_growth
            self._rule = CosineAnnealingWarmRestarts(optimizer, T_0=first, T_mult=growth, eta_min=config.min_lr)

    @property
    def lr(self) -> float:
        """The learning rate of the next step; with a layer decay, that of the last layer."""
        return float(self._optimizer.param_groups[0]["lr"])

    def epoch_done(self, report: dict[str, Any]) -> None:
        """Tell the rule that an epoch ended with these validation metrics; one that is undefined is no epoch to it."""
        if isinstance(self._rule, ReduceLROnPlateau):
            if report[self._of] is not None:
                self._rule.step(report[self._of])
        elif self._rule is not None:
            self._rule.step()

    def state(self) -> dict[str, Any]:
        """Plain numbers and text for state.json."""
        kept = {} if self._rule is None else self._rule.state_dict()
        rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        return {"lr": self.lr, "lrs": rates, "rule": {name: value for name, value in kept.items() if _is_plain(value)}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        if self._rule is not None:
            self._rule.load_state_dict(state["rule"])
        groups = self._optimizer.param_groups
        for group, rate in zip(groups, state.get("lrs") or [state["lr"]] * len(groups), strict=True):
            group["lr"] = rate


def _is_plain(value: object) -> bool:
    """Whether JSON can hold it: infinity, which a new plateau rule starts from, is left at its default instead."""
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, int | str | list)


def optimizer_tensors(optimizer: Optimizer, model: nn.Module) -> dict[str, torch.Tensor]:
    """The optimizer's state as `<parameter>:<what>` -> tensor, for instance `classifier.weight:exp_avg`."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}:{key}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if value is not None
    }


def restore_optimizer(optimizer: Optimizer, model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Put `optimizer_tensors` back, each on its parameter's device, counters where the optimizer wants them."""
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for full, value in tensors.items():
        name, key = full.rsplit(":", 1)
        parameter = parameters[name]
        on_device = value.ndim > 0 or parameter.is_cuda
        state = optimizer.state.setdefault(parameter, {})
        if value.shape == parameter.shape:
            state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        else:
            state[key] = value.to(parameter.device) if on_device else value.clone()
