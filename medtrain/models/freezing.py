"""Which blocks of a network train in which epoch: the last so many, and more of them as epochs go by (`unfreeze`).

Compiled blocks are compiled anew where they begin to train, before the epoch in which they do.
"""

from __future__ import annotations

from torch import nn

from medtrain import models
from medtrain.config.rules import block_counts
from medtrain.config.schema import Config
from medtrain.core.errors import InputError


class Freezing:
    """The blocks that do not train yet require no gradient and are in eval mode, as if they were a fixed function:
    neither an optimizer nor BatchNorm nor dropout changes anything of them. What belongs to no block, as the position
    embedding of a ViT, trains with the first one."""

    def __init__(self, config: Config, model: nn.Module) -> None:
        """Raises InputError where the network has fewer blocks than are to train."""
        self._model = model
        self._counts, self._every = block_counts(config.optim.unfreeze), config.optim.unfreeze_every
        self._stages = models.stages(config.model.backbone, model) if self._counts else []
        self._learning = [p for p in model.parameters() if p.requires_grad]  # a network may have fixed ones of its own
        self._last = 0  # so many blocks train
        if max(self._counts, default=0) > len(self._stages):
            raise InputError(
                f"unfreeze is {config.optim.unfreeze}, and {config.model.backbone} has {len(self._stages)} blocks",
                f"give at most --unfreeze {len(self._stages)}, or '' to train all",
            )

    def begin(self, epoch: int) -> bool:
        """Freeze and unfreeze for an epoch (the first is 0); whether other blocks train than before."""
        number = min(epoch // self._every, len(self._counts) - 1) if self._every else 0
        last = self._counts[number] if self._counts else 0
        if last == self._last:
            return False
        self._last = last
        cut = len(self._stages) - last
        within = {parameter for stage in self._stages[cut:] for parameter in stage.parameters()}
        for parameter in self._learning:
            parameter.requires_grad_(cut == 0 or parameter in within)
        self._model.train()
        for stage in self._stages[:cut]:
            stage.eval()
        return True

    def __str__(self) -> str:
        """What trains, for the log; empty where nothing is ever frozen."""
        if not self._counts:
            return ""
        names = {module: name for name, module in self._model.named_modules()}
        words = [
            " and ".join(
                names[part] for part in ([stage] if stage in names else stage.children()) if [*part.parameters()]
            )
            for stage in self._stages[len(self._stages) - self._last :]
        ]
        own = sum(parameter.numel() for parameter in self._model.parameters() if parameter.requires_grad)
        every = sum(parameter.numel() for parameter in self._model.parameters())
        return (
            f"the last {self._last} of {len(self._stages)} blocks train: {', '.join(words)}"
            f" ({own:,} of {every:,} parameters)"
        )
