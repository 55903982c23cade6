"""Numbers from scores and labels, in numpy: what a report says of a model.

Imported by: `tasks` and above.
Door: `multilabel_report`, `multiclass_report`, `abnormality_report`, `score_report`; between two models
`paired_bootstrap`, `delong`, `mcnemar`.
"""
