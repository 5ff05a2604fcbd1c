"""The agent's local HTTP interface: requests and answers between relay and agent, with arrays as base64."""

import base64
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from client.port import Arrays
from consent.contract import ContractModel

FLOATS, INTEGERS = "<f8", "<i8"


class EncodedArray(ContractModel):
    """An array as its type, shape and little-endian bytes."""

    dtype: Literal["float64", "int64"]
    shape: tuple[Annotated[int, Field(ge=0, le=10_000_000)], ...]
    data: str

    @classmethod
    def of(cls, array: NDArray[np.float64] | NDArray[np.int64]) -> "EncodedArray":
        """Encode an array."""
        is_integer = array.dtype == np.int64
        raw = np.ascontiguousarray(array).astype(INTEGERS if is_integer else FLOATS).tobytes()
        data = base64.b64encode(raw).decode()
        return cls(dtype="int64" if is_integer else "float64", shape=array.shape, data=data)

    def decode(self) -> NDArray[np.float64] | NDArray[np.int64]:
        """Return the array.

        Raises:
            ValueError: bytes and shape do not fit.
        """
        raw = base64.b64decode(self.data, validate=True)
        if self.dtype == "int64":
            return np.frombuffer(raw, dtype=INTEGERS).reshape(self.shape).astype(np.int64)
        return np.frombuffer(raw, dtype=FLOATS).reshape(self.shape).astype(np.float64)


def encode(arrays: Arrays) -> dict[str, EncodedArray]:
    """Encode named arrays."""
    return {name: EncodedArray.of(array) for name, array in arrays.items()}


def decode(arrays: dict[str, EncodedArray]) -> Arrays:
    """Decode named arrays; raises ValueError as `EncodedArray.decode` does."""
    return {name: array.decode() for name, array in arrays.items()}


class RoundBody(ContractModel):
    """A round, as the relay passes it on."""

    task: str
    manifest: str
    arrays: dict[str, EncodedArray]


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
