"""Tables, a page and a sample browser from run folders; reads result files, nothing else.

    python -m leaderboards.build runs/base runs/r1 --out board --reference base

Must not import trainers, torch, transformers, trl or lm_eval.
"""
