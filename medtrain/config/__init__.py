"""The settings of a run: their schema, their rules, the recipes, and the fingerprint of those that decide the weights.

Imported by: everybody but `core`.
Door: `configfile.resolve(recipe)` and `configfile.load(file)` give a `schema.Config`.
"""
