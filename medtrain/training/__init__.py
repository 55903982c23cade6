"""The one training loop and what surrounds it: set up, save, stop, hang.

Imported by: `launch`.
Door: `loop.train(run, config, stop, fail, report)`.
"""
