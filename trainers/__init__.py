"""How checkpoints are made. So far: `python -m trainers.phantom_tiny`, the model inside the package.

Sits above `bench`, below `leaderboards`. Importing this package loads nothing.
"""
