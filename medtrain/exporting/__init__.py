"""A run's best weights for programs without medtrain: written, loaded by a plain consumer, and compared.

Imported by: `cli`.
Door: `write_export.export_run(run, kind)`.
"""
