"""The laboratory: synthetic brands with known ground truth, split tables, whole federations in one process.

It runs the code that is deployed, with nothing but the transports replaced, and may import every room.
"""
