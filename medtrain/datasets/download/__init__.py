"""Fetching datasets: downloads that resume, credentials, archives, PhysioNet.

Imported by: `datasets.sources` and tests.
Door: `http_client.fetch`, `archives.unpack`.
"""
