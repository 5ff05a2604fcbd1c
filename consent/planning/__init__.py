"""What a budget buys before anything of it is spent: rounds, noise, epsilon and expected error of a task."""

from consent.planning.plan import BudgetPlan, ModeErrors, PlannedRound, plan_budget

__all__ = ["BudgetPlan", "ModeErrors", "PlannedRound", "plan_budget"]
