"""The file of a cluster, written from what Slurm says of itself.

`survey` asks, `accounts` and `access` say who may use what, `profile` decides on the values, `profile_text` writes them
with their comments, and `new_profile` chooses the partition, by the checks of the doctor.
"""
