"""AUROCs of groups of patients and of their rests, for all labels in one pass over sorted scores a draw.

What is counted is how many pairs of a positive of group g and a negative of group h are in order, for all g and h; a
rest is what is left of these counts without a group's row and column. They are whole numbers: in which order they are
summed, and what is summed together, changes no area in any bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medtrain.metrics.numbers import Floats, Ints

Mask = NDArray[np.bool_]
BITS = 62  # of an int64 that hold counts


class GroupedAreas:
    """Sorts the scores [N, L] once, where they are `known` [N, L]; each call only counts.

    `positive` [N, L] is the truth, `of` [N] and `people` [N] the group and the patient of a sample. The samples of all
    labels lie one label behind the other. The sums of the negatives of several groups, from the lowest score up, share
    one int64, each in bits of its own: to look one up is most of the work.
    """

    def __init__(self, scores: Floats, positive: Mask, known: Mask, of: Ints, people: Ints, groups: int) -> None:
        self._shape = labels, _ = known.shape[1], groups
        ups, downs, lows, highs, segments = [], [], [], [], []
        self._ends = np.zeros(labels + 1, np.int64)  # of the negatives of each label
        for label, own in enumerate(known.T):
            rows = np.flatnonzero(own)
            rows = rows[np.argsort(scores[rows, label], kind="stable")]
            up, down = rows[positive[rows, label]], rows[~positive[rows, label]]
            up = up[np.argsort(of[up], kind="stable")]
            below, of_up = scores[down, label], scores[up, label]
            lows.append(self._ends[label] + np.searchsorted(below, of_up, "left"))
            highs.append(self._ends[label] + np.searchsorted(below, of_up, "right"))
            self._ends[label + 1] = self._ends[label] + len(down)
            segments.append(label * groups + of[up])
            ups.append(up)
            downs.append(down)
        up, down, segment = (np.concatenate(parts) for parts in (ups, downs, segments))
        low, high = np.concatenate(lows), np.concatenate(highs)
        # Positives of a label and group between the same negatives stand behind each other, and are looked up as one.
        places = np.stack([segment, low, high])
        first = np.flatnonzero(np.append(True, (places[:, 1:] != places[:, :-1]).any(0))[: len(up)])
        self._runs = np.append(first, len(up))
        self._low, high, segment = low[first], high[first], segment[first]
        self._tied = np.flatnonzero(self._low != high)
        self._tied_high = high[self._tied]
        self._up, self._down = people[up], people[down]
        self._there, self._starts = np.unique(segment, return_index=True)
        self._fields, self._factors = _fields(of[down], groups, _most(people, known, len(down)))
        self._before = np.zeros(len(down) + 1, np.int64)  # before[i]: the weights of the i first negatives
        self._weights, self._others = np.empty(len(up), np.int64), np.empty(len(down), np.int64)
        self._summed = np.zeros(len(up) + 1, np.int64)
        self._at_runs, self._of_run = np.empty(len(first) + 1, np.int64), np.empty(len(first), np.int64)
        self._marked = np.empty(len(down), np.int64)
        self._below, self._counts = np.empty(len(first), np.int64), np.empty(len(first), np.int64)

    def __call__(self, drawn: Ints) -> tuple[Floats, Floats]:
        """The areas of the groups and of their rests [G, L], where a patient counts as often as `drawn` says."""
        labels, groups = self._shape
        twice = np.zeros((groups, labels * groups), np.int64)  # [of the negative, label and group of the positive]
        ups, downs = np.zeros(labels * groups, np.int64), np.zeros((labels, groups), np.int64)
        weights = drawn.take(self._up, out=self._weights, mode="clip")
        others = drawn.take(self._down, out=self._others, mode="clip")
        np.cumsum(weights, out=self._summed[1:])  # and not reduceat, which is slow where its parts are short
        self._summed.take(self._runs, out=self._at_runs, mode="clip")
        weights = np.subtract(self._at_runs[1:], self._at_runs[:-1], out=self._of_run)
        if len(self._there):
            ups[self._there] = np.add.reduceat(weights, self._starts)
        of_label, below, counts = self._there // groups, self._below, self._counts
        for fields, factor in zip(self._fields, self._factors, strict=True):
            np.cumsum(np.multiply(others, factor, out=self._marked), out=self._before[1:])
            self._before.take(self._low, out=below, mode="clip")
            ends = self._before.take(self._ends)
            between = self._before.take(self._tied_high) - below[self._tied]
            for group, shift, mask in fields:
                until = (ends >> shift) & mask
                downs[:, group] = until[1:] - until[:-1]
                if not len(self._there):
                    continue
                np.bitwise_and(np.right_shift(below, shift, out=counts), mask, out=counts)
                np.left_shift(counts, 1, out=counts)
                if len(self._tied):
                    counts[self._tied] += (between >> shift) & mask  # a tie counts half
                sums = np.add.reduceat(np.multiply(counts, weights, out=counts), self._starts)
                twice[group, self._there] = sums - 2 * until[of_label] * ups[self._there]
        pairs, ups = twice.reshape(groups, labels, groups), ups.reshape(labels, groups)
        own, by_up, by_down = np.einsum("hlh->lh", pairs), pairs.sum(0), pairs.sum(2).T
        rest = by_up.sum(1, keepdims=True) - by_up - by_down + own
        others_up, others_down = (part.sum(1, keepdims=True) - part for part in (ups, downs))
        return shares(own, 2 * ups * downs).T, shares(rest, 2 * others_up * others_down).T


def shares(part: Floats | Ints, whole: Floats | Ints) -> Floats:
    """`part / whole`; NaN of nothing."""
    found: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found


def _most(people: Ints, known: Mask, negatives: int) -> int:
    """More than the weights of all negatives together can be: as if the patient with most were drawn each time."""
    each = np.bincount(people, known.sum(1)) if len(people) else np.zeros(1)
    return max(int(each.max(initial=0)) * (int(people.max(initial=-1)) + 1), negatives) + 1


def _fields(of: Ints, groups: int, most: int) -> tuple[list[list[tuple[int, int, int]]], list[Ints]]:
    """Which groups share an int64, each with the shift and the mask that read it there; and by what the weight of each
    negative [N] counts in it. Sums below `most` do not touch each other."""
    bits = max(1, most.bit_length())
    together = max(1, BITS // bits)
    fields, factors = [], []
    for first in range(0, groups, together):
        many = min(together, groups - first)
        inside = (of >= first) & (of < first + many)
        factors.append(np.where(inside, np.left_shift(1, np.where(inside, of - first, 0) * bits), 0).astype(np.int64))
        fields.append([(first + i, i * bits, (1 << bits) - 1) for i in range(many)])
    return fields, factors
