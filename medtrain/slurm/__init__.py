"""What Slurm is asked and told: its commands, its environment in a job, batch scripts, why a job waits.

Imported by: all tiers above it.
Door: `queries.records(job)`, `sbatch.send`, `environment.own_job()`.
"""
