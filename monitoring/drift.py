"""Drift: is this traffic still like the reference? Counts in, verdicts out. No Django, no database, no rows.

A column drifts when the difference is both real and large: real by a chi-square test of homogeneity on merged bins,
corrected over all columns of the run (Benjamini-Hochberg, 5 %), and large by the population stability index (PSI).
Either alone misleads: on small windows PSI is mostly noise, on large ones every difference is significant. What cannot
be judged says so (`insufficient_data`, `not_comparable`); no column is dropped and none can fail the run.

Definitions. PSI: sum((p - q) ln(p / q)) over the reference's deciles or its categories, each count plus 0.5.
JS: the Jensen-Shannon distance (square root), natural logarithm, on the same bins. KS and Wasserstein: from the
240 quantile bins; Wasserstein is divided by the reference's standard deviation. Noise floor: the PSI that 95 % of
windows of this size stay below when nothing has changed, chi2(.95, B - 1) (1 / N + 1 / M) (Yurdakul 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from monitoring.profiles import (
    BUCKETS,
    ColumnCounts,
    ColumnProfile,
    Counts,
    Profile,
    bucket,
    lot,
    number_text,
)

Floats = npt.NDArray[np.float64]

OK, WATCH, DRIFT = "ok", "watch", "drift"
INSUFFICIENT, NOT_COMPARABLE = "insufficient_data", "not_comparable"
WORST_FIRST = (DRIFT, NOT_COMPARABLE, WATCH, OK, INSUFFICIENT)

FALSE_DISCOVERY_RATE = 0.05
LEAST_EXPECTED = 5.0  # the usual condition of the chi-square test
LEAST_ROWS = 50
ROWS_PER_BIN = 5
SMOOTHING = 0.5
MISSING_RISE = 0.05  # share of rows
SURE = 0.001  # p-value of a quality finding


@dataclass(frozen=True, slots=True)
class Thresholds:
    watch: float = 0.1
    drift: float = 0.2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the data's quality, apart from its distribution."""

    code: str  # missing_column, missing_values, type_changed, wrong_type, new_category, out_of_range, invalid, constant
    count: int
    share: float
    reference_share: float = 0.0
    examples: tuple[str, ...] = ()
    is_sure: bool = True  # False: a reference of this size leaves so much outside by chance


@dataclass(slots=True)
class ColumnVerdict:
    """What is said of one column. `reason` names why, in one word; people read it through `monitoring.words`."""

    name: str
    type: str
    state: str = OK
    reason: str = "same"
    psi: float | None = None
    js: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    chi2: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    n_reference: int = 0
    n_current: int = 0
    n_needed: int = LEAST_ROWS
    noise_floor: float | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    missing: int = 0
    missing_share: float = 0.0
    missing_reference: float = 0.0
    new_categories: list[str] = field(default_factory=list)
    out_of_range: int | None = None
    mean_reference: float | None = None
    mean_current: float | None = None
    findings: list[Finding] = field(default_factory=list)
    bins: list[str] = field(
        default_factory=list
    )  # labels, reference and current counts of the bins that PSI used
    reference: list[int] = field(default_factory=list)
    current: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def evaluate(
    profile: Profile, counts: Counts, thresholds: Mapping[str, Thresholds] | None = None
) -> list[ColumnVerdict]:
    """Judge every column of one table."""
    return judge(measure_all(profile, counts, thresholds))


def measure_all(
    profile: Profile, counts: Counts, thresholds: Mapping[str, Thresholds] | None = None
) -> list[ColumnVerdict]:
    """Measure every reference column; `judge` then decides over all columns of the run at once."""
    limits = thresholds or {}
    default = limits.get("", Thresholds())
    absent = ColumnCounts(absent=counts.rows)
    return [
        measure(column, counts.columns.get(name, absent), counts.rows, limits.get(name, default))
        for name, column in profile.columns.items()
    ]


def judge(verdicts: Sequence[ColumnVerdict]) -> list[ColumnVerdict]:
    """Correct for having tested many columns, then decide each one's state."""
    tested = [verdict for verdict in verdicts if verdict.p is not None]
    adjusted = benjamini_hochberg([verdict.p for verdict in tested if verdict.p is not None])
    for verdict, p_adjusted in zip(tested, adjusted, strict=True):
        verdict.p_adjusted = p_adjusted
        _decide(verdict)
    return list(verdicts)


def worst(states: Iterable[str]) -> str:
    """The state that a list of states is shown as."""
    seen = set(states)
    return next((state for state in WORST_FIRST if state in seen), INSUFFICIENT)


def _decide(verdict: ColumnVerdict) -> None:
    is_real = verdict.p_adjusted is not None and verdict.p_adjusted <= FALSE_DISCOVERY_RATE
    psi = verdict.psi or 0.0
    if not is_real:
        verdict.state, verdict.reason = OK, "noise" if psi >= verdict.thresholds.watch else "same"
    elif psi >= verdict.thresholds.drift:
        verdict.state, verdict.reason = DRIFT, "drift"
    elif psi >= verdict.thresholds.watch:
        verdict.state, verdict.reason = WATCH, "watch"
    else:
        verdict.state, verdict.reason = OK, "small"


# ---------------------------------------------------------------------------------------------- one column


def measure(
    reference: ColumnProfile, current: ColumnCounts, rows: int, thresholds: Thresholds | None = None
) -> ColumnVerdict:
    """All figures of one column; the state is final only when it needs no comparison with the other columns."""
    verdict = ColumnVerdict(
        name=reference.name,
        type=reference.type,
        n_reference=reference.n,
        n_current=current.n,
        thresholds=thresholds or Thresholds(),
        missing=current.missing + current.absent,
        missing_share=_share(current.missing + current.absent, rows),
        missing_reference=_share(reference.missing, reference.rows),
        new_categories=list(current.new),
        out_of_range=current.below + current.above if reference.is_numeric else None,
        mean_reference=_mean(reference.total, reference.n),
        mean_current=_mean(current.total, current.n),
    )
    verdict.findings = _findings(reference, current, rows)
    if blocked := _not_comparable(reference, current, rows):
        verdict.state, verdict.reason = blocked
        return verdict
    _compare(verdict, reference, current)
    return verdict


def _not_comparable(reference: ColumnProfile, current: ColumnCounts, rows: int) -> tuple[str, str] | None:
    if not rows:
        return INSUFFICIENT, "no_rows"
    if current.absent == rows:
        return NOT_COMPARABLE, "missing_column"
    if current.wrong > current.n:
        return NOT_COMPARABLE, "type_changed"
    if not current.n and reference.n:
        return NOT_COMPARABLE, "all_missing"
    if not reference.n:
        # nothing then and nothing now is no change
        return (NOT_COMPARABLE, "empty_reference") if current.n else (OK, "both_empty")
    if reference.kind == "text":
        return NOT_COMPARABLE, "free_text"
    return None


def _compare(verdict: ColumnVerdict, reference: ColumnProfile, current: ColumnCounts) -> None:
    fine_reference = np.asarray(reference.counts, dtype=np.int64)
    fine_current = current.dense(fine_reference.size)
    labels, r, c = _coarse(reference, fine_reference, fine_current)
    verdict.bins, verdict.reference, verdict.current = labels, r.tolist(), c.tolist()
    verdict.psi, verdict.js = psi(r, c), js_distance(r, c)
    verdict.noise_floor = noise_floor(r.size, int(r.sum()), int(c.sum()))
    if reference.kind == "number":
        verdict.ks = float(np.abs(_cdf(fine_reference) - _cdf(fine_current)).max())
        verdict.wasserstein = _wasserstein(reference, current, fine_reference, fine_current)
    elif reference.is_numeric:
        verdict.ks, verdict.wasserstein = _discrete_distances(
            reference, current, fine_reference, fine_current
        )
    merged = _test_bins(reference, current, fine_reference, fine_current)
    verdict.n_needed = max(LEAST_ROWS, ROWS_PER_BIN * merged.shape[1])
    if min(verdict.n_reference, verdict.n_current) < LEAST_ROWS or verdict.n_current < verdict.n_needed:
        verdict.state, verdict.reason = INSUFFICIENT, "few_rows"
        return
    verdict.chi2, verdict.p = chi_square(merged)


def _coarse(
    reference: ColumnProfile, r: npt.NDArray[np.int64], c: npt.NDArray[np.int64]
) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Deciles of a number, categories and "other" of the rest; bins that are empty on both sides are left out."""
    if reference.kind == "number":
        starts = np.unique(np.append(0, np.asarray(reference.deciles, dtype=np.int64) + 1))
        starts = starts[starts < r.size]
        labels = _interval_labels([reference.edges[start - 1] for start in starts[1:]])
        r, c = np.add.reduceat(r, starts), np.add.reduceat(c, starts)
    else:
        labels = [*reference.categories, "…"]
        starts = np.arange(reference.other + 1)
        r, c = np.add.reduceat(r, starts), np.add.reduceat(c, starts)
    used = (r + c) > 0
    return [label for label, keep in zip(labels, used, strict=True) if keep], r[used], c[used]


def _interval_labels(edges: Sequence[float]) -> list[str]:
    texts = [number_text(float(f"{edge:.4g}")) for edge in edges]
    if not texts:
        return ["-∞ – ∞"]
    inner = [f"{a} – {b}" for a, b in pairwise(texts)]
    return [f"≤ {texts[0]}", *inner, f"> {texts[-1]}"]


def _test_bins(
    reference: ColumnProfile, current: ColumnCounts, r: npt.NDArray[np.int64], c: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The merged bins of the significance test.

    A category is never placed by what the reference alone knows of it: "unseen in the reference", or "frequent in the
    reference", would hold fewer, or more, reference rows by construction, and a test on it would cry wolf. So each
    unseen category stands for itself, and where rare ones were not kept, all of them are tested by bucket.
    """
    if reference.kind == "number":
        _, r, c = _coarse(reference, r, c)
        return merge_bins(r, c)
    known, where = reference.other, [bucket(label) for label in reference.categories]
    if not reference.is_complete:
        r_buckets, c_buckets = r[known:].copy(), c[known:].copy()
        np.add.at(r_buckets, where, r[:known])
        np.add.at(c_buckets, where, c[:known])
        return merge_bins(r_buckets, c_buckets, np.arange(BUCKETS))
    unseen = np.array(list(current.new.values()), dtype=np.int64)
    rest = c[known:].sum() - unseen.sum()
    r = np.concatenate([r[:known], np.zeros(unseen.size + 1, dtype=np.int64)])
    c = np.concatenate([c[:known], unseen, [rest]])
    lots = [lot(label) for label in (*reference.categories, *current.new, "")]
    return merge_bins(r, c, np.array(lots))


# ---------------------------------------------------------------------------------------------- the statistics


def psi(reference: npt.NDArray[Any], current: npt.NDArray[Any]) -> float:
    """Population stability index of two rows of counts, each count plus 0.5."""
    p = (reference + SMOOTHING) / (reference.sum() + SMOOTHING * reference.size)
    q = (current + SMOOTHING) / (current.sum() + SMOOTHING * current.size)
    return float(np.sum((p - q) * np.log(p / q)))


def js_distance(reference: npt.NDArray[Any], current: npt.NDArray[Any]) -> float | None:
    """Jensen-Shannon distance, natural logarithm: between 0 and sqrt(ln 2) = 0.8326."""
    if not reference.sum() or not current.sum():
        return None
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return math.sqrt(max(divergence, 0.0))


def _relative_entropy(p: Floats, q: Floats) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log(p[held] / q[held])))


def noise_floor(bins: int, n: int, m: int) -> float | None:
    """The PSI that an unchanged column stays below in 95 % of windows of this size."""
    if bins < 2 or not n or not m:
        return None
    return float(stats.chi2.ppf(0.95, bins - 1)) * (1 / n + 1 / m)


def merge_bins(
    reference: npt.NDArray[Any], current: npt.NDArray[Any], lots: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Merge bins until each expects at least five in the smaller sample: neighbours, or the rarest if there are lots.

    The rarest are those with the fewest rows in both samples together; ties are drawn by lot, for any order that
    one sample decides would gather the bins where that sample has more.
    """
    table = np.vstack([reference, current]).astype(np.int64)
    totals = table.sum(axis=1)
    if not totals.all():
        return table.sum(axis=1, keepdims=True)
    least = LEAST_EXPECTED * totals.sum() / np.min(totals)  # in both samples together
    order = np.arange(table.shape[1]) if lots is None else np.lexsort((lots, table.sum(axis=0)))
    groups: list[npt.NDArray[Any]] = []
    open_group = np.zeros(2, dtype=np.int64)
    for index in order:
        open_group = open_group + table[:, index]
        if open_group.sum() >= least:
            groups.append(open_group)
            open_group = np.zeros(2, dtype=np.int64)
    if not groups:
        return open_group.reshape(2, 1)
    groups[-1] = groups[-1] + open_group
    return np.asarray(np.stack(groups, axis=1))


def chi_square(table: npt.NDArray[Any]) -> tuple[float | None, float]:
    """Homogeneity of two rows of counts. One bin cannot differ: p is 1."""
    if table.shape[1] < 2:
        return None, 1.0
    totals = table.sum(axis=1, keepdims=True)
    expected = totals * table.sum(axis=0, keepdims=True) / table.sum()
    statistic = float((((table - expected) ** 2) / expected).sum())
    return statistic, float(stats.chi2.sf(statistic, table.shape[1] - 1))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: reject those at or below the rate to keep false discoveries below it."""
    p = np.asarray(p_values, dtype=np.float64)
    if not p.size:
        return []
    order = np.argsort(p, kind="stable")
    steps = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return [float(value) for value in adjusted]


def _cdf(counts: npt.NDArray[Any]) -> Floats:
    total = counts.sum()
    return np.asarray(np.cumsum(counts) / total if total else np.zeros(counts.size), dtype=np.float64)


def _wasserstein(
    reference: ColumnProfile, current: ColumnCounts, r: npt.NDArray[Any], c: npt.NDArray[Any]
) -> float | None:
    """Area between the two distribution functions, straight within each bin, over the reference's spread."""
    if not reference.std or current.low is None or current.high is None:
        return None
    if reference.low is None or reference.high is None:
        return None
    edges = np.asarray(reference.edges)
    low, high = min(reference.low, current.low), max(reference.high, current.high)
    points = np.unique(
        np.concatenate([[low, reference.low, current.low], edges, [current.high, reference.high, high]])
    )
    with np.errstate(over="ignore", invalid="ignore"):
        gap = _curve(points, edges, r, reference.low, reference.high) - _curve(
            points, edges, c, current.low, current.high
        )
        value = _area(points, gap) / reference.std
    return value if math.isfinite(value) else None


def _curve(points: Floats, edges: Floats, counts: npt.NDArray[Any], low: float, high: float) -> Floats:
    """The distribution function at `points`, from counts and the two extremes."""
    levels = _cdf(counts)[:-1]
    inside = (edges > low) & (edges < high)
    x = np.concatenate([[low], edges[inside], [high]])
    y = np.concatenate([[0.0], levels[inside], [1.0]])
    curve = np.where(points < low, 0.0, np.where(points >= high, 1.0, np.interp(points, x, y)))
    return np.asarray(curve, dtype=np.float64)


def _area(points: Floats, gap: Floats) -> float:
    """The exact integral of |gap| when gap is straight between points."""
    a, b, width = gap[:-1], gap[1:], np.diff(points)
    crosses = a * b < 0
    size = np.abs(a) + np.abs(b)
    straight = width * size / 2
    crossed = width * (a * a + b * b) / np.where(size > 0, 2 * size, 1.0)
    return float(np.where(crosses, crossed, straight).sum())


def _discrete_distances(
    reference: ColumnProfile, current: ColumnCounts, r: npt.NDArray[Any], c: npt.NDArray[Any]
) -> tuple[float | None, float | None]:
    """KS and Wasserstein of few distinct numbers: exact while the unseen ones are among the examples."""
    weights: dict[float, tuple[int, int]] = {
        float(label): (int(r[i]), int(c[i])) for i, label in enumerate(reference.categories)
    }
    weights |= {float(label): (0, number) for label, number in current.new.items()}
    points = np.array(sorted(weights))
    both = np.array([weights[point] for point in points])
    if not both[:, 1].sum():
        return None, None
    gap = np.abs(_cdf(both[:, 0]) - _cdf(both[:, 1]))
    if not reference.std:
        return float(gap.max()), None
    distance = float(np.sum(gap[:-1] * np.diff(points))) / reference.std
    return float(gap.max()), distance if math.isfinite(distance) else None


# ---------------------------------------------------------------------------------------------- quality


def _findings(reference: ColumnProfile, current: ColumnCounts, rows: int) -> list[Finding]:
    """Missing columns, changed types, new categories and the like, with counts and a few example values."""
    if not rows:
        return []
    found = [
        Finding("missing_column", current.absent, _share(current.absent, rows)) if current.absent else None,
        _missing_values(reference, current, rows),
        _wrong_type(current, rows),
        _new_categories(reference, current),
        _out_of_range(reference, current),
        Finding("invalid", current.invalid, _share(current.invalid, rows)) if current.invalid else None,
        _constant(reference, current),
    ]
    return [finding for finding in found if finding is not None]


def _missing_values(reference: ColumnProfile, current: ColumnCounts, rows: int) -> Finding | None:
    now, then = _share(current.missing, rows), _share(reference.missing, reference.rows)
    if now - then < MISSING_RISE and not (current.missing and not current.n):
        return None
    if _rise_p(reference.missing, reference.rows, current.missing, rows) > SURE and current.n:
        return None
    return Finding("missing_values", current.missing, now, then)


def _rise_p(a: int, n: int, b: int, m: int) -> float:
    """Two-sided p of equal shares, a of n and b of m."""
    pooled = (a + b) / max(n + m, 1)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / max(n, 1) + 1 / max(m, 1)))
    if not spread:
        return 1.0
    return float(2 * stats.norm.sf(abs(a / max(n, 1) - b / max(m, 1)) / spread))


def _wrong_type(current: ColumnCounts, rows: int) -> Finding | None:
    if not current.wrong:
        return None
    code = "type_changed" if current.wrong > current.n else "wrong_type"
    return Finding(code, current.wrong, _share(current.wrong, rows), examples=_few(current.odd))


def _new_categories(reference: ColumnProfile, current: ColumnCounts) -> Finding | None:
    if reference.kind != "category" or not reference.is_complete or reference.is_numeric:
        return None
    number = current.bins.get(reference.other, 0)
    if not number:
        return None
    most = max(current.new.values(), default=number)
    is_sure = _outside_p(most, reference.n, current.n) <= SURE
    return Finding(
        "new_category", number, _share(number, current.n), examples=_few(current.new), is_sure=is_sure
    )


def _out_of_range(reference: ColumnProfile, current: ColumnCounts) -> Finding | None:
    number = current.below + current.above
    if not number:
        return None
    extremes = [current.low if current.below else None, current.high if current.above else None]
    examples = tuple(number_text(value) for value in extremes if value is not None)
    below, above = (_outside_p(count, reference.n, current.n) for count in (current.below, current.above))
    is_sure = 2 * min(below, above) <= SURE
    return Finding("out_of_range", number, _share(number, current.n), examples=examples, is_sure=is_sure)


def _outside_p(count: int, n: int, m: int) -> float:
    """Chance that `count` or more of m new values lie beyond all n known ones when nothing has changed.

    Each of the n + m values is equally likely to be the largest, then the second largest, and so on.
    """
    return float((m / (n + m)) ** count) if n + m else 1.0


def _constant(reference: ColumnProfile, current: ColumnCounts) -> Finding | None:
    """A constant reference that varies now, or a varied reference that is constant now."""
    if reference.is_constant:
        differing = current.bins.get(reference.other, 0)
        if differing:
            return Finding(
                "not_constant", differing, _share(differing, current.n), examples=_few(current.new)
            )
        return None
    if reference.n >= LEAST_ROWS and current.n >= LEAST_ROWS and len(current.bins) == 1:
        is_one_value = reference.kind == "category" or current.low == current.high
        if is_one_value:
            return Finding("constant", current.n, 1.0, max(reference.counts) / reference.n)
    return None


def _few(examples: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(list(examples)[:5])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _mean(total: float | None, n: int) -> float | None:
    return total / n if total is not None and n else None
