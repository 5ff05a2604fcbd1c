"""Whom an auditor trusts: logs, witnesses, and how many of these must have cosigned (C2SP tlog-policy)."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from consent.errors import NoteFormatError, PolicyError, QuorumError
from consent.log.note import COSIGNATURE, ED25519, MLDSA44, Note, VerifierKey

NONE = "none"
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
NUMBER = re.compile(r"[1-9][0-9]{0,5}")
MAX_FUTURE = 30
"""Seconds that a cosignature's time may lie ahead of the verifier's clock."""


@dataclass(frozen=True)
class Group:
    """At least `threshold` of `members`, each a witness or another group."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A trust policy; names of witnesses and groups mean nothing outside of it."""

    quorum: str
    logs: tuple[VerifierKey, ...] = ()
    witnesses: Mapping[str, VerifierKey] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a policy file.

        Raises:
            PolicyError: a line does not follow the format; the sentence names it.
        """
        if CONTROL.search(raw):
            raise PolicyError("A policy file holds no control characters but tab and newline.")
        reader = _Reader()
        for number, line in enumerate(raw.decode("utf-8", "surrogateescape").split("\n"), 1):
            words = [word for word in re.split("[ \t]+", line) if word]
            if words and not words[0].startswith("#"):
                try:
                    reader.read(words)
                except (PolicyError, NoteFormatError) as error:
                    raise PolicyError(f"Line {number} of the policy: {error}") from None
                except UnicodeEncodeError:
                    raise PolicyError(f"Line {number} of the policy: a key's name must be UTF-8.") from None
        if reader.quorum is None:
            raise PolicyError("A policy has exactly one line `quorum NAME`; this one has none.")
        return cls(reader.quorum, tuple(reader.logs), reader.witnesses, reader.groups)

    def require_quorum(
        self, note: Note, *, now: int | None = None, max_age: int | None = None
    ) -> Mapping[str, int]:
        """Return the POSIX times of the cosignatures that count, by the policy's names of their witnesses.

        Args:
            note: the signed head.
            now: POSIX time; needed with `max_age` alone.
            max_age: seconds after which a cosignature no longer counts; without it, all that fit do.

        Raises:
            SignatureError: a cosignature by a listed witness does not fit.
            QuorumError: fewer witnesses cosigned than the quorum demands.
        """
        signers = note.signers(self.witnesses.values())
        times = {name: signers[key] or 0 for name, key in self.witnesses.items() if key in signers}
        if max_age is not None and now is not None:
            times = {name: at for name, at in times.items() if now - max_age <= at <= now + MAX_FUTURE}
        if self.quorum != NONE and not self._witnessed(self.quorum, times):
            fresh = "" if max_age is None else f" within the last {max_age} seconds"
            raise QuorumError(
                f"The head of {note.checkpoint.size} entries does not reach the quorum {printable(self.quorum)}: "
                f"{len(times)} of {len(self.witnesses)} witnesses cosigned it{fresh}."
            )
        return times

    def _witnessed(self, name: str, times: Mapping[str, int]) -> bool:
        if name in self.witnesses:
            return name in times
        group = self.groups[name]
        return sum(self._witnessed(member, times) for member in group.members) >= group.threshold


class _Reader:
    """Lines read so far; what a line names must stand on an earlier one."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, VerifierKey] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def read(self, words: list[str]) -> None:
        """Read one line, split into its words."""
        kinds: Mapping[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if words[0] not in kinds:
            raise PolicyError("it must start with log, witness, group or quorum.")
        kinds[words[0]](words[1:])

    def _log(self, words: list[str]) -> None:
        if len(words) not in (1, 2):
            raise PolicyError("it must read `log VKEY [URL]`.")
        self.logs.append(_key(words[0], (ED25519, MLDSA44), self.logs))

    def _witness(self, words: list[str]) -> None:
        if len(words) not in (2, 3):
            raise PolicyError("it must read `witness NAME VKEY [URL]`.")
        self._require_free(words[0])
        self.witnesses[words[0]] = _key(words[1], (COSIGNATURE, MLDSA44), self.witnesses.values())

    def _group(self, words: list[str]) -> None:
        if len(words) < 3:  # noqa: PLR2004 - name, threshold and at least one member
            raise PolicyError("it must read `group NAME all|any|K MEMBER...`.")
        name, threshold, *members = words
        self._require_free(name)
        for member in members:
            self._require_known(member)
            if member in self._members:
                raise PolicyError(f"{printable(member)} is a member already; it can count once.")
            self._members.add(member)
        self.groups[name] = Group(_threshold(threshold, len(members)), tuple(members))

    def _quorum(self, words: list[str]) -> None:
        if len(words) != 1 or self.quorum is not None:
            raise PolicyError("it must read `quorum NAME`, once.")
        if words[0] != NONE:
            self._require_known(words[0])
        self.quorum = words[0]

    def _require_free(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise PolicyError(f"the name {printable(name)} is taken.")

    def _require_known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise PolicyError(f"{printable(name)} is not a witness or group of an earlier line.")


def printable(name: str) -> str:
    """Return a name as it can be printed: names are octets, not necessarily UTF-8."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _key(text: str, allowed: tuple[bytes, ...], others: Iterable[VerifierKey]) -> VerifierKey:
    key = VerifierKey.parse(text)
    if key.algorithm not in allowed:
        raise PolicyError("its key is of a type that logs have and witnesses do not, or the reverse.")
    if any(other.public_key == key.public_key for other in others):
        raise PolicyError("its key stands on an earlier line already.")
    return key


def _threshold(text: str, members: int) -> int:
    if text in ("any", "all"):
        return 1 if text == "any" else members
    if not NUMBER.fullmatch(text) or int(text) > members:
        raise PolicyError(f"its threshold must be all, any or a number from 1 to {members}.")
    return int(text)
