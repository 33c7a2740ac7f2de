"""From a recipe to a family of variants: trained on TRL, scored at once, published (`python -m trainers.run`).

Sits above `bench`, below `leaderboards`. Importing this package loads nothing.
"""
