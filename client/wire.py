"""The agent's local HTTP interface: requests and answers between relay and agent, with arrays as base64."""

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from client.port import Arrays, Total
from consent.contract import ContractModel

Kind = Literal["float64", "int64", "uint32", "uint64"]
KINDS: Mapping[str, Kind] = {"float64": "float64", "int64": "int64", "uint32": "uint32", "uint64": "uint64"}


class EncodedArray(ContractModel):
    """An array as its type, shape and little-endian bytes."""

    dtype: Kind
    shape: tuple[Annotated[int, Field(ge=0, le=10_000_000)], ...]
    data: str

    @classmethod
    def of(cls, array: NDArray[np.float64] | Total) -> "EncodedArray":
        """Encode an array; what is of no other kind is taken for real numbers."""
        kind = KINDS.get(str(array.dtype), "float64")
        raw = np.ascontiguousarray(array).astype(np.dtype(kind).newbyteorder("<")).tobytes()
        return cls(dtype=kind, shape=array.shape, data=base64.b64encode(raw).decode())

    def decode(self) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return an array of a query or model.

        Raises:
            ValueError: bytes and shape do not fit, or it is of another kind.
        """
        if self.dtype not in ("float64", "int64"):
            raise ValueError("a query or model is of 64-bit floating-point numbers and integers")
        return self._elements()

    def decode_total(self) -> Total:
        """Return an array that is a sum.

        Raises:
            ValueError: bytes and shape do not fit, or it is of another kind.
        """
        if self.dtype == "float64":
            raise ValueError("a sum is of integers")
        return self._elements()

    def _elements(self) -> NDArray[Any]:
        kind = np.dtype(self.dtype)
        raw = base64.b64decode(self.data, validate=True)
        return np.frombuffer(raw, dtype=kind.newbyteorder("<")).reshape(self.shape).astype(kind)


def encode(arrays: Arrays) -> dict[str, EncodedArray]:
    """Encode named arrays."""
    return {name: EncodedArray.of(array) for name, array in arrays.items()}


def decode(arrays: dict[str, EncodedArray]) -> Arrays:
    """Decode named arrays; raises ValueError as `EncodedArray.decode` does."""
    return {name: array.decode() for name, array in arrays.items()}


class SetupBody(ContractModel):
    """A run's beginning, as the relay passes it on."""

    task: str
    setup: str


class ShareBody(ContractModel):
    """All brands' advertisements, as the relay passes them on."""

    setup: str
    advertisements: str


class KeepBody(ContractModel):
    """All brands' shares for this one, as the relay passes them on."""

    setup: str
    shares: str


class OpenBody(ContractModel):
    """A closing, as the relay passes it on."""

    setup: str
    closing: str


class TextAnswer(ContractModel):
    """What the agent says in a run's setup, or to open a sum: JSON that it has signed or sealed."""

    text: str


class RoundBody(ContractModel):
    """A round, as the relay passes it on."""

    task: str
    manifest: str
    arrays: dict[str, EncodedArray]
    release: str = ""


class RoundAnswer(ContractModel):
    """What the agent releases."""

    attestation: str
    total: EncodedArray


class ModelBody(ContractModel):
    """A finished model, as the relay passes it on."""

    task: str
    release: str
    arrays: dict[str, EncodedArray]


class HelloAnswer(ContractModel):
    """Who the agent is."""

    brand: str
    key: str


class RefusalAnswer(ContractModel):
    """Why the agent refuses."""

    error: str
    detail: str
