"""Auditing what a simulated run would release: the same task, brands and customers, with canaries among them."""

from client.features.encoding import cells
from client.training import Contribution
from consent.contract.plan import solver_for
from privacy.errors import PrivacyError
from simulations.auditing import audit
from simulations.audits import Audit
from simulations.simulate.options import SimulateOptions, deal, task_for
from simulations.tables import LabelledTable


def audit_run(options: SimulateOptions, table: LabelledTable) -> Audit | None:
    """Return what an audit of the first seed finds; None where sums have too few directions for canaries.

    Its noise is the system's, also where the run's is drawn from a seed.
    """
    task = task_for(options, table)
    training, _ = deal(options, table, seed=0)
    customers = [
        Contribution(cells(part, task.features, task.solver.cells), part.labels)
        for part in training.values()
        if part.labels is not None
    ]
    try:
        return audit(solver_for(task, brands=options.brands), customers)
    except PrivacyError:
        return None
