"""Names of messages, records and fields between ServerApp and ClientApp: the two never import each other."""

from typing import Final

ROUND_MESSAGE: Final = "train"
HELLO_MESSAGE: Final = "query.hello"
INSTALL_MESSAGE: Final = "query.install"

SETUP_MESSAGE: Final = "query.setup"
"""Carries a run's setup; answered by an advertisement."""
SHARE_MESSAGE: Final = "query.share"
"""Carries all advertisements; answered by shares for every brand."""
KEEP_MESSAGE: Final = "query.keep"
"""Carries the shares for this brand; answered by nothing."""
OPEN_MESSAGE: Final = "query.open"
"""Carries a closing; answered by the shares that open it."""

ARRAYS: Final = "arrays"
"""Record of named arrays: a query, a model, or a released sum."""

TEXTS: Final = "texts"
"""Record of signed values as JSON text, by the field names below."""

TASK: Final = "task"
MANIFEST: Final = "manifest"
RELEASE: Final = "release"
SETUP: Final = "setup"
ADVERTISEMENT: Final = "advertisement"
ADVERTISEMENTS: Final = "advertisements"
"""A JSON array of signed advertisements, one of each brand."""
SHARES: Final = "shares"
"""A JSON array of sealed shares: of one brand for all, or of all for one."""
CLOSING: Final = "closing"
UNMASKING: Final = "unmasking"
ATTESTATION: Final = "attestation"
BRAND: Final = "brand"
KEY: Final = "key"
REFUSAL_CODE: Final = "refusal-code"
REFUSAL_REASON: Final = "refusal-reason"

SUM: Final = "sum"
"""Name of the array that holds a brand's released sum, int64, shape (p,), in grid steps.

In trust mode `distributed` it is masked: the ring's elements, uint32 or uint64.
"""
