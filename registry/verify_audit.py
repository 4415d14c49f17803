"""Verify an exported audit log, on any machine: Python 3.9 or later, nothing else.

    python3 verify_audit.py audit-20261121-1430.zip
    python3 verify_audit.py audit.jsonl                 # unpacked: with the seals.jsonl that lies beside it
    python3 verify_audit.py audit-20261121-1430.jsonl --seals audit-seals.jsonl --key-file audit_key

It exits with 0 when the log is sound, 1 when somebody changed it (and says from which event on), 2 when the file
cannot be read. Every event carries SHA-256(hash of the event before, "|", canonical JSON of its other fields), and
a seal is HMAC-SHA256(key, canonical JSON of an event's number, its hash and the time of sealing).

What a sound log proves, and to whom:

* The links alone, to anybody: nothing was altered, removed, added or reordered by someone who did not also compute
  every later hash again. Who can write the table can do that, so against them the links alone prove nothing.
* Seals, to whoever holds a copy of them from elsewhere (the file `audit-seals.jsonl`, objects under a bucket's lock,
  an earlier export): everything up to the newest seal is what it was when it was sealed, and the end was not cut off.
* Seals with the key, to whoever keeps the key: the same, even if the copy of the seals passed through strange hands,
  for nobody without the key can make one.
* Nothing proves the events after the newest seal, nor anything made after somebody got hold of the key: against the
  holder of the key only seals that were copied out of their reach prove the past.
* An export of a filter proves each event that it holds, not that the filter left none out; one that is bounded by
  time alone has no gaps.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

GENESIS = "0" * 64
EVENTS_NAME, SEALS_NAME = "audit.jsonl", "seals.jsonl"
#: Clocks of two machines differ: a seal this much older than an export is surely about something the export holds.
SKEW = timedelta(minutes=1)
_LINKS = ("prev_hash", "hash")
_BY_TIME = {"since", "until"}
_NO_MORE: Any = object()


def canonical(value: Mapping[str, Any]) -> str:
    """Sorted keys, no spaces, every character as itself."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def link(previous: str, facts: Mapping[str, Any]) -> str:
    """The hash of an event: over the hash before it and all its fields but the two hashes."""
    return hashlib.sha256(f"{previous}|{canonical(facts)}".encode()).hexdigest()


def seal_mac(key: bytes, seq: int, head: str, at: str) -> str:
    """What only the holder of the key can compute: the chain ended at event `seq` with hash `head` at that time."""
    text = canonical({"seq": seq, "hash": head, "at": at})
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Broken(Exception):
    """The chain does not hold from event `at` on."""

    def __init__(self, at: int, problem: str) -> None:
        super().__init__(problem)
        self.at, self.problem = at, problem


@dataclass(frozen=True)
class Finding:
    """What a walk along the chain found; `broken_at` is the first number that does not fit."""

    ok: bool
    first: int
    last: int
    head: str
    broken_at: int | None = None
    problem: str = ""
    rows: int = 0
    seals: int = 0  # how many were compared
    sealed_to: int = 0  # the newest event that a seal vouches for
    sealed_at: str = ""
    with_key: bool = False


class Walk:
    """One pass over events in their order, in constant memory.

    `has_gaps`: a filter left events out, so that numbers may be missing. `from_start`: the first must be number 1.
    `ends_at`: the head, as a number and its hash, that the chain must reach.
    """

    def __init__(
        self,
        *,
        seals: Iterable[Mapping[str, Any]] = (),
        key: bytes | None = None,
        has_gaps: bool = False,
        from_start: bool = True,
        ends_at: tuple[int, str] | None = None,
    ) -> None:
        self.key, self.has_gaps, self.from_start, self.ends_at = key, has_gaps, from_start, ends_at
        self.first = self.last = self.rows = 0
        self.head = GENESIS
        self.compared = self.sealed_to = self._seal_line = 0
        self.sealed_at = ""
        self._seals = iter(seals)
        self._seal = self._next_seal(0)

    def run(self, events: Iterable[Mapping[str, Any]]) -> Finding:
        try:
            for event in events:
                self._step(event)
            self._finish()
        except Broken as found:
            return self._finding(found)
        return self._finding(None)

    def _step(self, event: Mapping[str, Any]) -> None:
        seq, facts = _checked(event, self.last + 1)
        self._require_order(seq)
        if (seq == self.last + 1 and (self.rows or seq == 1)) and event["prev_hash"] != self.head:
            raise Broken(seq, "the order was changed")
        if link(event["prev_hash"], facts) != event["hash"]:
            raise Broken(seq, "the event was altered")
        self._compare_seals(seq, event)
        if self.ends_at and self.ends_at != (seq, event["hash"]) and self.ends_at[0] == seq:
            raise Broken(seq, "the event is not the one that the head names")
        self.first = self.first or seq
        self.last, self.head, self.rows = seq, event["hash"], self.rows + 1

    def _require_order(self, seq: int) -> None:
        expected = self.last + 1
        if seq < expected:
            raise Broken(seq, "the order was changed")
        may_start_here = not self.rows and not self.from_start
        if seq > expected and not self.has_gaps and not may_start_here:
            raise Broken(expected, "an event is missing")

    def _compare_seals(self, seq: int, event: Mapping[str, Any]) -> None:
        while self._seal is not None and self._seal["seq"] <= seq:
            at = self._seal["seq"]
            known = {seq: event["hash"], seq - 1: event["prev_hash"]}.get(at)
            if known is not None:
                self._require_sealed(at, known)
            self._seal = self._next_seal(at)

    def _require_sealed(self, at: int, known: str) -> None:
        assert self._seal is not None
        if self._seal["hash"] != known:
            since = self.sealed_to + 1
            raise Broken(since, f"events {since} to {at} are not the ones that were sealed as #{at}")
        self.compared, self.sealed_to, self.sealed_at = self.compared + 1, at, self._seal["at"]

    def _next_seal(self, after: int) -> Mapping[str, Any] | None:
        seal = next(self._seals, _NO_MORE)
        if seal is _NO_MORE:
            return None
        self._seal_line += 1
        if not _is_seal(seal):
            raise Broken(after + 1, f"seal {self._seal_line} cannot be read")
        seq, at = seal["seq"], seal["at"]
        if seq < after:
            raise Broken(seq, f"seal {self._seal_line} (of #{seq}) is out of order")
        if self.key and not hmac.compare_digest(seal_mac(self.key, seq, seal["hash"], at), seal["mac"]):
            raise Broken(seq, f"seal {self._seal_line} (of #{seq}) was not made with this key")
        return seal

    def _finish(self) -> None:
        if self.ends_at and self.last < self.ends_at[0]:
            raise Broken(self.last + 1, "events were cut off at the end")
        while self._seal is not None:
            at = self._seal["seq"]
            if not self.has_gaps and at > self.last:
                problem = f"events were cut off at the end: #{at} was sealed at {self._seal['at']}"
                raise Broken(self.last + 1, problem)
            self._seal = self._next_seal(at)

    def _finding(self, broken: Broken | None) -> Finding:
        return Finding(
            ok=broken is None,
            first=self.first,
            last=self.last,
            head=self.head,
            broken_at=broken.at if broken else None,
            problem=broken.problem if broken else "",
            rows=self.rows,
            seals=self.compared,
            sealed_to=self.sealed_to,
            sealed_at=self.sealed_at,
            with_key=bool(self.key),
        )


def walk(events: Iterable[Mapping[str, Any]], **how: Any) -> Finding:
    """One pass over `events`; by keyword, what `Walk` takes."""
    try:
        walker = Walk(**how)
    except Broken as found:  # the first seal already
        return Finding(False, 0, 0, GENESIS, found.at, found.problem, with_key=bool(how.get("key")))
    return walker.run(events)


def _checked(event: Mapping[str, Any], expected: int) -> tuple[int, dict[str, Any]]:
    seq = event.get("seq")
    if type(seq) is not int or seq < 1:
        raise Broken(expected, "an event has no number")
    if not all(isinstance(event.get(name), str) for name in _LINKS):
        raise Broken(seq, "the event has no hash")
    return seq, {name: value for name, value in event.items() if name not in _LINKS}


def _is_seal(seal: Any) -> bool:
    return (
        isinstance(seal, Mapping)
        and type(seal.get("seq")) is int
        and seal["seq"] > 0
        and all(isinstance(seal.get(name), str) for name in ("hash", "at", "mac"))
        and all(re.fullmatch(r"[0-9a-f]{64}", seal[name]) for name in ("hash", "mac"))
    )


def read_lines(file: Iterable[bytes]) -> Iterator[Any]:
    """Each line as JSON; what cannot be read becomes None, which fits nowhere. Blank lines do not count."""
    for line in file:
        if line.strip():
            try:
                yield json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
            except ValueError:
                yield None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def verify_export(
    events: Iterable[bytes], seals: Iterable[bytes] = (), key: bytes | None = None
) -> tuple[dict[str, Any], Finding]:
    """What the first line of an export says about itself, and what a walk over the others found.

    ValueError when the first line is not that of an export.
    """
    lines = read_lines(events)
    about = next(lines, None)
    if not isinstance(about, dict) or not isinstance(about.get("chain_head"), dict):
        raise ValueError("This is no export of the audit log as JSON lines (a CSV cannot be verified).")
    head, chosen = about["chain_head"], about.get("filter") or {}
    whole = not chosen
    finding = walk(
        (line if isinstance(line, dict) else {} for line in lines),
        seals=_due(read_lines(seals), about),
        key=key,
        has_gaps=not set(chosen) <= _BY_TIME,
        from_start=whole,
        ends_at=(head.get("seq", 0), head.get("hash", "")) if whole else None,
    )
    return about, _counted(about, finding)


def _due(seals: Iterator[Any], about: dict[str, Any]) -> Iterator[Any]:
    """The seals that an export must agree with: of events that it may hold, and those made before it."""
    before = datetime.fromisoformat(str(about.get("exported_at"))) - SKEW
    last = about["chain_head"].get("seq", 0)
    for seal in seals:
        if not _is_seal(seal) or seal["seq"] <= last or (not about.get("filter") and _time(seal) < before):
            yield seal


def _time(seal: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(seal["at"].replace("Z", "+00:00"))


def _counted(about: dict[str, Any], finding: Finding) -> Finding:
    """An export says how many events it holds: so one that a filter made shows that its end is missing."""
    rows = about.get("rows")
    if not finding.ok or rows in (None, finding.rows):
        return finding
    problem = f"the export names {rows} events and holds {finding.rows}"
    return Finding(**{**vars(finding), "ok": False, "broken_at": finding.last + 1, "problem": problem})


def open_export(
    path: Path, seals: Path | None, stack: ExitStack
) -> tuple[IO[bytes], IO[bytes] | list[bytes]]:
    """The lines of events and of seals: of the zip as it was downloaded, or of two files."""
    own: IO[bytes] | list[bytes] = stack.enter_context(seals.open("rb")) if seals else []
    if not zipfile.is_zipfile(path):
        return stack.enter_context(path.open("rb")), own
    bundle = stack.enter_context(zipfile.ZipFile(path))
    inside = stack.enter_context(bundle.open(EVENTS_NAME))
    if seals is None and SEALS_NAME in bundle.namelist():
        own = stack.enter_context(bundle.open(SEALS_NAME))
    return inside, own


def seals_beside(export: Path) -> Path | None:
    """`seals.jsonl` in the folder of an export that does not bring its own: a bundle that was unpacked."""
    beside = export.parent / SEALS_NAME
    if zipfile.is_zipfile(export) or not beside.is_file() or beside.samefile(export):
        return None
    return beside


def in_words(about: dict[str, Any], found: Finding) -> str:
    """What was found, for a terminal."""
    of = f"{found.rows} events, #{found.first} to #{found.last}, exported at {about.get('exported_at')}"
    chosen = about.get("filter") or {}
    if not found.ok:
        return f"BROKEN at #{found.broken_at}: {found.problem}.\n{of}."
    sealed = "No seal vouches for any of them: give the seals with --seals."
    if found.seals:
        how = "made with this key" if found.with_key else "whose key was not given (--key-file)"
        sealed = f"{found.seals} seals, {how}, vouch for all up to #{found.sealed_to} ({found.sealed_at})."
    part = "" if not chosen else f"\nA filter chose them: {json.dumps(chosen, ensure_ascii=False)}."
    return f"SOUND: {of}.\nHead: {found.head}\n{sealed}{part}"


def main(arguments: list[str] | None = None) -> int:
    about = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=about[0], epilog=about[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path, help="the export, as zip or as JSON lines")
    parser.add_argument(
        "--seals",
        type=Path,
        help=f"seals kept elsewhere (default: those in the zip, or {SEALS_NAME} beside the export)",
    )
    parser.add_argument("--key-file", type=Path, help="the key that the seals were made with")
    given = parser.parse_args(arguments)
    try:
        beside = None if given.seals else seals_beside(given.export)
        key = given.key_file.read_bytes().strip() if given.key_file else None
        with ExitStack() as stack:
            about_it, found = verify_export(*open_export(given.export, given.seals or beside, stack), key)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        print(f"Cannot read it: {error}", file=sys.stderr)
        return 2
    print(in_words(about_it, found))
    if beside:
        print(f"The seals are those of {beside}, which lies beside the export.")
    return 0 if found.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
