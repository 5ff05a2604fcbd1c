"""Names of messages, records and fields between ServerApp and ClientApp: the two never import each other."""

from typing import Final

ROUND_MESSAGE: Final = "train"
HELLO_MESSAGE: Final = "query.hello"
INSTALL_MESSAGE: Final = "query.install"

ARRAYS: Final = "arrays"
"""Record of named arrays: a query, a model, or a released sum."""

TEXTS: Final = "texts"
"""Record of signed values as JSON text, by the field names below."""

TASK: Final = "task"
MANIFEST: Final = "manifest"
RELEASE: Final = "release"
ATTESTATION: Final = "attestation"
BRAND: Final = "brand"
KEY: Final = "key"
REFUSAL_CODE: Final = "refusal-code"
REFUSAL_REASON: Final = "refusal-reason"

SUM: Final = "sum"
"""Name of the array that holds a brand's released sum, int64, shape (p,), in grid steps."""
