"""Phantom: a procedural five-modality suite with known truth. Not clinical data.

`facts` says what is true of an image, `draw` draws it, `python -m tasks.phantom --sheet FILE.png` shows examples.
Nothing is imported here, so that reading one part costs only that part.
"""
