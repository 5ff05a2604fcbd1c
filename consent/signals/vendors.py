"""Sets of vendors in TC strings: a bit per vendor, or ranges of ids, whichever is shorter."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from consent.errors import ConsentStringError
from consent.signals.bits import BitReader, BitWriter

ID_BITS = 16
COUNT_BITS = 12
MAX_VENDOR = (1 << ID_BITS) - 1
_RUN = re.compile("1+")


@dataclass(frozen=True)
class VendorSet:
    """Vendor ids from 1 to 65,535 as inclusive ranges: ascending, disjoint, no two of them adjacent.

    Ranges keep a hostile string small in memory: a few bytes can name every vendor there may be.
    """

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, vendors: Iterable[int]) -> Self:
        """Build the set of these ids.

        Raises:
            ConsentStringError: an id is below 1 or above 65,535.
        """
        return cls.joined((vendor, vendor) for vendor in sorted(set(vendors)))

    @classmethod
    def joined(cls, ranges: Iterable[tuple[int, int]]) -> Self:
        """Build the set out of ascending, disjoint ranges, joining adjacent ones.

        Raises:
            ConsentStringError: a range is empty, out of order, or reaches outside 1 to 65,535.
        """
        merged: list[tuple[int, int]] = []
        last = 0
        for start, end in ranges:
            if not last < start <= end <= MAX_VENDOR:
                raise ConsentStringError("Vendor ids of the consent string are out of order or out of range.")
            if merged and start == last + 1:
                merged[-1] = (merged[-1][0], end)
            else:
                merged.append((start, end))
            last = end
        return cls(tuple(merged))

    @property
    def highest(self) -> int:
        """Return the highest id, 0 where there is none."""
        return self.ranges[-1][1] if self.ranges else 0

    def __contains__(self, vendor: int) -> bool:
        return any(start <= vendor <= end for start, end in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for start, end in self.ranges:
            yield from range(start, end + 1)


NO_VENDORS = VendorSet()


def read_vendors(reader: BitReader) -> VendorSet:
    """Read a vendor section: highest id, encoding, then bits or ranges.

    Raises:
        ConsentStringError: it is malformed, or a range goes beyond the highest id.
    """
    highest = reader.integer(ID_BITS)
    if not reader.flag():
        bits = reader.take(highest)
        return VendorSet(tuple((run.start() + 1, run.end()) for run in _RUN.finditer(bits)))
    vendors = read_ranges(reader)
    if vendors.highest > highest:
        raise ConsentStringError("A vendor range of the consent string goes beyond the highest id that it states.")
    return vendors


def write_vendors(writer: BitWriter, vendors: VendorSet) -> None:
    """Write a vendor section in the shorter of the two encodings.

    Raises:
        ConsentStringError: the set does not fit.
    """
    writer.integer(vendors.highest, ID_BITS)
    in_ranges = vendors.highest > _length_in_ranges(vendors) and len(vendors.ranges) < 1 << COUNT_BITS
    writer.flag(in_ranges)
    if in_ranges:
        write_ranges(writer, vendors)
        return
    end_before = 0
    for start, end in vendors.ranges:
        writer.put("0" * (start - 1 - end_before) + "1" * (end - start + 1))
        end_before = end


def read_ranges(reader: BitReader) -> VendorSet:
    """Read a count and that many ranges, each a single id or a first and a last one.

    Raises:
        ConsentStringError: they are malformed, out of order or overlapping, or a range holds a single id.
    """
    ranges: list[tuple[int, int]] = []
    for _ in range(reader.integer(COUNT_BITS)):
        is_range = reader.flag()
        start = reader.integer(ID_BITS)
        end = reader.integer(ID_BITS) if is_range else start
        if is_range and end == start:
            raise ConsentStringError("A vendor range of the consent string holds a single id.")
        ranges.append((start, end))
    return VendorSet.joined(ranges)


def write_ranges(writer: BitWriter, vendors: VendorSet) -> None:
    """Write a count and the ranges.

    Raises:
        ConsentStringError: there are more than 4,095.
    """
    writer.integer(len(vendors.ranges), COUNT_BITS)
    for start, end in vendors.ranges:
        writer.flag(end > start)
        writer.integer(start, ID_BITS)
        if end > start:
            writer.integer(end, ID_BITS)


def _length_in_ranges(vendors: VendorSet) -> int:
    return COUNT_BITS + sum(1 + ID_BITS * (2 if end > start else 1) for start, end in vendors.ranges)
