"""One file a family of networks.

Imported by: `models` alone, by the backbone's name.
Door: `models.build(config, outputs)`.
"""
