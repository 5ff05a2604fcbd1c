"""What the brand computes for a round: bounded sums over exactly the customers it was allowed to use."""

from client.training.contribution import Contribution, Trainer

__all__ = ["Contribution", "Trainer"]
