"""Models and judges under test: generate, score, aggregate, compare.

    python -m bench.run --help

Importing this package loads nothing heavy; public names live in `bench.stats` and in the commands.
"""
