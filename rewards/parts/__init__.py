"""Reward parts, one file each; `rewards.registry` finds every module of this folder. Nothing is listed here."""
