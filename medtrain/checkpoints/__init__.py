"""What a run can be continued from: written whole, verified before it is believed, replayed.

Imported by: `training`, `evaluation` and above.
Door: `writer`, `format.load_chosen(folder)`.
"""
