"""From a command to ranks: submission, the supervisor, the ranks' processes, groups of runs and their chains.

Imported by: `doctor` and `cli`.
Door: `submit`, `supervisor`.
"""
