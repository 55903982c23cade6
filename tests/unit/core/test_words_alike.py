"""Suggestions of words, and numbers of things in sentences."""

from __future__ import annotations

import pytest

from medtrain.core.counts import by_reason, counted
from medtrain.core.errors import most_alike, nearest


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [
        ("lesa", ("lesB", "lesA"), "lesA"),  # capital letters
        ("LESB", ("lesb_left", "lesB", "lesA"), "lesB"),
        ("lesC", ("lesA", "lesB"), "lesA"),  # alike: the first
        ("batch-size", ("--lr", "--batch_size"), "--batch_size"),
        ("--lerning_rate", ("--every-minutes", "--hang-timeout-seconds"), ""),  # dashes are not alike
        ("epo", ("seed", "epochs"), "epochs"),  # the beginning of one
        ("pat", ("patient", "patience"), "patient"),
        ("mednits", ("chest", "mednist"), "mednist"),
        ("photos", ("csv", "folder", "nih"), ""),
        ("x", (), ""),
    ],
)
def test_the_most_likely_word(word: str, known: tuple[str, ...], found: str) -> None:
    assert most_alike(word, known) == found
    assert nearest(word, known) == (f" (did you mean {found}?)" if found else "")


def test_numbers_of_things() -> None:
    assert [counted(number, "images") for number in (0, 1, 2, 1000)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,000 images",
    ]
    assert counted(1, "classes") == "1 class" and counted(1, "image files") == "1 image file"
    assert by_reason(["b", "a", "a", "c", "d", "e"]) == "a: 2, b: 1, c: 1, other reasons: 2"
    assert by_reason(["truncated JPEG"]) == "truncated JPEG: 1"
