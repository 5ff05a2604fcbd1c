"""Solvers, each whole in one place: what a brand computes, its bound, what the sum becomes, what it costs."""

from privacy.solvers.accelerated_additive import AcceleratedAdditive, AdditiveModel
from privacy.solvers.additive_state import Marginals, Query, SolverState

__all__ = ["AcceleratedAdditive", "AdditiveModel", "Marginals", "Query", "SolverState"]
