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
    """

    epsilon: float
    delta: float
    minimum_cohort: int


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
        if task.privacy.trust_mode != "local":
            raise PolicyRefusalError(
                "This agent adds all noise itself; it has no secure sum and refuses trust mode 'distributed'."
            )
        if task.privacy.max_brands_per_customer != 1:
            raise PolicyRefusalError("This agent does not divide the clip norm over several brands; set m to 1.")
        if task.privacy.delta > policy.delta:
            raise PolicyRefusalError(
                f"The task's delta {task.privacy.delta:g} is over the policy's {policy.delta:g}; lower it."
            )
        return policy
