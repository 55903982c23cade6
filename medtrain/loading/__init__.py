"""Batches of packed samples: their order as a pure function, worker processes, augmentation.

Imported by: `tasks`, `distributed` and above.
Door: `loader.Loader`.
"""
