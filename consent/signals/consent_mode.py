"""Google's Consent Mode: our purposes in the four consent types that its tags ask for.

Source: Google, "Consent mode reference", consent types.
"""

from collections.abc import Collection
from typing import Literal

from consent.signals.mappings import ConsentModeMapping

ConsentState = Literal["granted", "denied"]


def consent_mode(granted: Collection[str], mapping: ConsentModeMapping) -> dict[str, ConsentState]:
    """Return the state of each consent type: granted where it needs purposes and every one of them is granted."""
    types = {
        "ad_storage": mapping.ad_storage,
        "ad_user_data": mapping.ad_user_data,
        "ad_personalization": mapping.ad_personalization,
        "analytics_storage": mapping.analytics_storage,
    }
    return {
        name: "granted" if needed and set(needed) <= set(granted) else "denied" for name, needed in types.items()
    }
