"""Files of images and clips to pixels, as their standards say; and what of a file may go into a shard.

Imported by: all tiers above it, and `datasets`.
Door: `decode.decode(path)`, `video.reader.frames(path)`, `encode`.
"""
