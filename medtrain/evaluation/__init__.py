"""A model with its best weights: scores of a split, and of new images and clips.

Imported by: `training`, `reporting` and above.
Door: `inference.load_best_model(run)`, `evaluate.score`, `paired_tests.run_paired_tests`.
"""
