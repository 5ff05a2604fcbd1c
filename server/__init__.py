"""The coordinator's room: the Flower ServerApp, the round protocol, aggregation and run checkpoints.

It handles vectors and permissions. It never sees a row, a model class or a feature.
"""
