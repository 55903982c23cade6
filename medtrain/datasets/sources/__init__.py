"""One file a dataset: its classes, its licence, and its records.

Imported by: `datasets` alone, by name.
Door: `datasets.source(name)`.
"""
