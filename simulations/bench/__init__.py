"""Benchmarks: `python -m simulations.bench NAME --json FILE` writes what was measured, against what, and how."""

from simulations.bench.records import Record, write_records

__all__ = ["Record", "write_records"]
