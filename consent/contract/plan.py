"""The plan of a task: the solver that its public settings fix, the same for everyone."""

from consent.contract.task import Feature, NumericFeature, TaskSpec
from privacy.binning import CellLayout
from privacy.solvers import AcceleratedAdditive


def solver_for(task: TaskSpec, *, brands: int | None = None) -> AcceleratedAdditive:
    """Return the solver with the task's rounds, bounds and budget.

    Args:
        task: what is learned.
        brands: brands of the run, as its setup has them, among whom noise is shared in trust mode `distributed`;
            what a model says does not depend on it.
    """
    distributed = task.privacy.trust_mode == "distributed"
    return AcceleratedAdditive(
        layouts=tuple(layout(feature, task.solver.cells) for feature in task.features),
        rounds=task.solver.rounds,
        clip_norm=task.solver.clip_norm,
        marginals_share=task.solver.marginals_share,
        max_bins=task.solver.max_bins,
        epsilon=task.privacy.epsilon,
        delta=task.privacy.delta,
        brands_per_customer=task.privacy.max_brands_per_customer,
        distributed=distributed,
        brands=brands if distributed else None,
        dropouts=task.privacy.dropouts if distributed else 0,
        colluders=task.privacy.colluders if distributed else 0,
    )


def layout(feature: Feature, cells: int) -> CellLayout:
    """Return a feature's public grid; the last cell is for missing or unlisted values."""
    if isinstance(feature, NumericFeature):
        return CellLayout(cells=cells + 1, ordered=True)
    return CellLayout(cells=len(feature.levels) + 1, ordered=False)
