"""What a brand allows, whatever the coordinator asks: its own ceilings and floors."""

from collections.abc import Mapping
from dataclasses import dataclass

from client.errors import PolicyRefusalError
from consent.contract import TaskSpec


@dataclass(frozen=True)
class PurposePolicy:
    """The brand's limits for one purpose.

    Args:
        epsilon: most that one customer may ever spend on the purpose.
        delta: at this delta.
        minimum_cohort: fewest opted-in customers for anything to be released.
        fewest_brands: fewest brands of a run whose sums are opened together, in trust mode `distributed`.
    """

    epsilon: float
    delta: float
    minimum_cohort: int
    fewest_brands: int = 3


@dataclass(frozen=True)
class BrandPolicy:
    """The purposes that a brand takes part in; one that is not listed is refused."""

    purposes: Mapping[str, PurposePolicy]

    def for_task(self, task: TaskSpec) -> PurposePolicy:
        """Return the limits that hold for a task.

        Raises:
            PolicyRefusalError: the brand does not take part in the purpose, or the task asks for more than
                its policy allows.
        """
        policy = self.purposes.get(task.purpose)
        if policy is None:
            raise PolicyRefusalError(
                f"This brand takes no part in purpose {task.purpose!r}; list it in the policy to allow it."
            )
        if task.privacy.delta > policy.delta:
            raise PolicyRefusalError(
                f"The task's delta {task.privacy.delta:g} is over the policy's {policy.delta:g}; lower it."
            )
        return policy

    def for_run(self, task: TaskSpec, brands: int) -> PurposePolicy:
        """Return the limits that hold for a run of so many brands.

        Raises:
            PolicyRefusalError: as `for_task`, or there are too few of them.
        """
        policy = self.for_task(task)
        if brands < policy.fewest_brands:
            raise PolicyRefusalError(
                f"The run has {brands} brands and the policy asks for {policy.fewest_brands}; ask more brands."
            )
        return policy
