"""How many examples a property is tried on: fewer where slow tests are left out, all where they run as well."""

from hypothesis import settings

QUICK = "quick"
"""The profile under which slow tests are left out."""


def examples(quick: int, thorough: int) -> int:
    return quick if settings.get_current_profile_name() == QUICK else thorough
