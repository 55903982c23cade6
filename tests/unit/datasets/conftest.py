"""A site to fetch from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from web import LARGE, Site

from medtrain.datasets.download import http_client


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("PHYSIONET_USER", "PHYSIONET_PASSWORD", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(http_client, "WAIT_S", 5.0)
    monkeypatch.setattr(http_client, "SLOWEST_S", 0.05)
    site = Site()
    site.files = {"/large": LARGE, "/small": b"few bytes"}
    yield site
    site.close()
