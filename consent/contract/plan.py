"""The plan of a task: the solver that its public settings fix, the same for everyone."""

from consent.contract.task import Feature, NumericFeature, TaskSpec
from privacy.binning import CellLayout
from privacy.solvers import AcceleratedAdditive


def solver_for(task: TaskSpec) -> AcceleratedAdditive:
    """Return the solver with the task's rounds, bounds and budget."""
    return AcceleratedAdditive(
        layouts=tuple(layout(feature, task.solver.cells) for feature in task.features),
        rounds=task.solver.rounds,
        clip_norm=task.solver.clip_norm,
        marginals_share=task.solver.marginals_share,
        max_bins=task.solver.max_bins,
        epsilon=task.privacy.epsilon,
        delta=task.privacy.delta,
    )


def layout(feature: Feature, cells: int) -> CellLayout:
    """Return a feature's public grid; the last cell is for missing or unlisted values."""
    if isinstance(feature, NumericFeature):
        return CellLayout(cells=cells + 1, ordered=True)
    return CellLayout(cells=len(feature.levels) + 1, ordered=False)
