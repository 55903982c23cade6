"""Index + order -> batches for one rank, read, checked, decoded and augmented by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from medtrain.config.schema import AugmentConfig
from medtrain.core.errors import InputError
from medtrain.datasets.labels import UNKNOWN, known, resolve_policy
from medtrain.loading.batch import Batch
from medtrain.loading.clip_sampling import ClipSetup
from medtrain.loading.order import draws_of_epoch, rank_share
from medtrain.loading.pool import BatchRequest, LoaderPool
from medtrain.loading.worker import Setup
from medtrain.shards.index import ShardIndex
from medtrain.shards.mixture import parts_and_times


@dataclass(frozen=True)
class RankShare:
    """Whose part of each global batch: the rank's among so many, in whole pieces where a batch is cut into `pieces`."""

    rank: int = 0
    ranks: int = 1
    pieces: int = 0


@dataclass(frozen=True)
class LabelRule:
    """What labels become for training: by the policies for what is not sure (see labels.resolve_policy), of clips good
    where the score is `score_threshold` or more (0: as it was packed), or with `scores` the scores themselves."""

    uncertain: str = "nan"
    unmentioned: str = "nan"
    scores: bool = False
    score_threshold: float = 0.0

    def of(self, index: ShardIndex, samples: int) -> npt.NDArray[Any]:
        """Those of the first samples of a split: int8 [N, L], scores float32 [N, 1] and NaN where there is none."""
        if self.scores or self.score_threshold:
            given = index.scores[:samples, None]
            return (
                given
                if self.scores
                else np.where(np.isnan(given), UNKNOWN, given >= self.score_threshold).astype(np.int8)
            )
        return resolve_policy(index.labels[:samples], self.uncertain, self.unmentioned)


class Loader:
    """Batches of one split for one rank; keeps no position of its own, so resuming costs no reading.

    Global batch k of an epoch is `order[k*G : (k+1)*G]` for G = `global_batch`, whatever the number of ranks, workers
    or shards; a rank takes its contiguous `share`. The last partial batch of an epoch is left out, so every rank makes
    the same number of steps. Augmentation is keyed by (seed, epoch, draw); a draw is a sample, unless `times` (of a
    source how often) has an epoch draw some more or less often than once. `augment=None` only resizes. `labels` [N, L]
    are those of the index by the `rule`. Of a dataset of clips `clip` says what is seen.

    One iteration at a time: when another begins, asking the earlier one for more raises RuntimeError.
    """

    def __init__(
        self,
        index: ShardIndex,
        *,
        global_batch: int,
        image_size: int,
        seed: int = 0,
        augment: AugmentConfig | None = None,
        share: RankShare = RankShare(),
        workers: int = 2,
        prefetch: int = 4,
        max_samples: int = 0,
        rule: LabelRule = LabelRule(),
        times: dict[str, float] | None = None,
        clip: ClipSetup | None = None,
    ) -> None:
        self.index = index
        self.samples = min(len(index), max_samples or len(index))
        self.global_batch = global_batch
        self.seed = seed
        self.share = share
        self._prefetch = prefetch
        self._pin = torch.cuda.is_available()
        self._sources = parts_and_times(index.samples[: self.samples], times or {})
        of, often = self._sources
        self.drawn = np.array(often)[of] > 0  # bool [samples]: those that training draws at all
        self._drawn = len(self._draws(0))
        self.labels = rule.of(index, self.samples)
        shards = tuple(str(index.shard_path(shard).absolute()) for shard in range(len(index.shards)))
        self._next_epoch = 0  # of those who iterate
        self._windows = clip.windows if clip else 1
        self.rgb = clip is None and index.channels == 3  # of images
        self._pool = LoaderPool(index, Setup(shards, image_size, augment, seed, clip, self.rgb), workers)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.steps

    def __bool__(self) -> bool:
        """True, also where it has no batch."""
        return True

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the next epoch: the first time those of epoch 0. `batches` has those of any."""
        epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        return self.batches(epoch)

    @property
    def steps(self) -> int:
        """Optimizer steps an epoch."""
        return self._drawn // self.global_batch

    def start(self) -> None:
        """Start the worker processes now, while something else is made ready; without it, the first batch does."""
        self._pool.start()

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's training batches of an epoch, from `first_step` (counted within the epoch) on."""
        if self.steps == 0:
            raise InputError(
                f"the {self.index.split} split has {self._drawn} samples, too few for a batch of {self.global_batch}",
                "lower --batch_size or --grad_accumulation, or pack more samples",
            )
        order = self._draws(epoch)
        own = self.share
        share = rank_share(self.global_batch, own.rank, own.ranks, own.pieces or own.ranks)
        whole = (order[k * self.global_batch : (k + 1) * self.global_batch] for k in range(first_step, self.steps))
        parts = (BatchRequest(step[share] % self.samples, step[share], step % self.samples, epoch) for step in whole)
        yield from self._batches(parts, share.stop - share.start)

    def every_sample(self, batch_size: int) -> Iterator[Batch]:
        """This rank's part of the split in index order, every sample (every window of a clip) exactly once over all
        ranks, not augmented.

        Batches are cut before they are dealt out, so a sample is scored in the same company at any number of ranks.
        """
        count = self.samples * self._windows
        starts = range(self.share.rank * batch_size, count, self.share.ranks * batch_size)
        parts = (np.arange(start, min(start + batch_size, count)) for start in starts)
        pairs = (np.divmod(part, self._windows) for part in parts)
        yield from self._batches((BatchRequest(samples, draws, samples, None) for samples, draws in pairs), batch_size)

    def rounds(self, batch_size: int) -> int:
        """Batches of `every_sample` on the rank that has the most."""
        return -(-self.samples * self._windows // (batch_size * self.share.ranks))

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def _draws(self, epoch: int) -> npt.NDArray[np.int64]:
        return draws_of_epoch(self.seed, epoch, self.index.digest, *self._sources)

    def _batches(self, parts: Iterator[BatchRequest], largest: int) -> Iterator[Batch]:
        for part, pixels in self._pool.make(parts, largest, self._prefetch):
            # A copy, which belongs to whoever has the batch; from pinned memory a GPU takes it while the CPU goes on.
            inputs = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=self._pin)
            inputs.numpy()[...] = pixels
            inputs = inputs.unsqueeze(1) if pixels.ndim == 3 else inputs.movedim(-1, 1)
            known_ones = known(self.labels[part.step]).sum(0)
            yield Batch(inputs, torch.from_numpy(self.labels[part.samples]), part.samples, known_ones, part.draws)
