"""The ranks of a run: where each is, how they meet, and how gradients are summed, fast or exactly.

Imported by: `training`, `evaluation` and above.
Door: `process_group.init_distributed(precision)`.
"""
