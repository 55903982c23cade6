"""Raw datasets before they are packed: looked at, told of, put into tables, degraded.

Imported by: `reporting` and `cli`.
Door: `scan.scan_files(records)`.
"""
