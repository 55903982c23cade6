"""Packed datasets: planned, written, indexed, mixed and verified, without torch.

Imported by: all tiers above it, and `curation`.
Door: `pack.pack(records, ...)` writes, `index.open_index(folder, split)` reads.
"""
