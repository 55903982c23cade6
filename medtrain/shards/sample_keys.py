"""How a sample is named in a shard: by a hash that tells no patient's id."""

from __future__ import annotations

from collections import Counter

from medtrain.datasets.record import Record, number_of


def sample_key(record: Record) -> str:
    """`<dataset>-<16 hex digits>`: no dots (WebDataset cuts a name at the first) and no patient's id."""
    return f"{record.source}-{number_of('key', record.source, record.patient, record.study, record.image):016x}"


def keys_by_content(records: list[Record], contents: list[tuple[int, int]]) -> list[str]:
    """As `sample_key`, from the bytes of the files alone: nobody can find out from it whether a name was among those
    that a clinic writes into the tags and file names of its clips."""
    times: Counter[int] = Counter()
    keys = []
    for record, (content, _) in zip(records, contents, strict=True):
        keys.append(f"{record.source}-{number_of('clip', content, times[content]):016x}")
        times[content] += 1
    return keys
