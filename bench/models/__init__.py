"""Backends of models under test, one file each; see `bench.models.base`."""
