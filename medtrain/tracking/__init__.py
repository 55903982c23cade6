"""What a run tells while it trains: the log, the status and the journal; and its copies in W&B, MLflow, TensorBoard.

Imported by: `training` and above.
Door: `run_log.RunLog`, `uploader_process.UploaderProcess`.
"""
