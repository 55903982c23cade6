"""Fetching datasets: downloads that go on, credentials, archives, PhysioNet.

Imported by: `datasets.sources` and tests.
Door: `http_client.fetch`, `archives.unpack`.
"""
