"""Clips: DICOM, MP4 and AVI read frame by frame, their sector found, and the TIFF that a shard holds.

Imported by: whoever may import `imaging`.
Door: `reader.frames(path)`.
"""
