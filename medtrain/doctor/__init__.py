"""Whether a machine and a cluster can do what medtrain asks of them, and what to do where not.

Imported by: `cli`.
Door: `local`, and `profiles.new_profile` for a new cluster file.
"""
