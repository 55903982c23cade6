"""A run's folder: its status, attempts, journal, code snapshot, owner; read without torch.

Imported by: all tiers above it.
Door: `run.Run`.
"""
