"""The steps of a plan, from checked claims to functions of the matrices before them.

A node reads nodes before it, never itself or a later one, so a plan cannot loop; widths are known before a row is
seen. Infinite and missing numbers pass through arithmetic as they do in numpy; `guard` is where scikit-learn refuses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from inference.compiled import tables
from inference.compiled.container import Array, BadForm, starts
from inference.compiled.errors import Declined
from inference.compiled.reading import Reader, Step
from inference.compiled.sources import Source

MAX_NODES = 5_000
MAX_WIDTH = 20_000
MAX_FACTORS = 20


def read_nodes(reader: Reader, claims: object) -> None:
    """Every node of the plan, in its order."""
    if not isinstance(claims, list) or len(claims) > MAX_NODES:
        raise BadForm("nodes")
    for claim in claims:
        op = claim.get("op") if isinstance(claim, dict) else None
        if not isinstance(op, str) or op not in OPS:
            raise BadForm("node")
        width, step = OPS[op](reader, claim)
        if not 1 <= width <= MAX_WIDTH:
            raise BadForm("width")
        reader.add(width, step)


def _inputs(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    columns = reader.parts.integers(claim.get("columns"), (None,), 0, len(reader.inputs))
    names = [reader.name(place, "number") for place in columns.tolist()]
    return len(names), lambda source, _done: source.numbers(names)


def _join(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    refs = claim.get("of")
    if not isinstance(refs, list) or not refs:
        raise BadForm("join")
    nodes = [reader.before(ref) for ref in refs]
    width = sum(reader.widths[node] for node in nodes)
    return width, lambda _source, done: np.concatenate([done[node] for node in nodes], axis=1)


def _take(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    columns = reader.parts.integers(claim.get("columns"), (None,), 0, reader.widths[of]).astype(np.intp)
    return len(columns), lambda _source, done: done[of].take(columns, axis=1)


def _arithmetic(operation: Any) -> Callable[[Reader, dict[str, Any]], tuple[int, Step]]:
    def read(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
        of = reader.before(claim.get("of"))
        values = reader.parts.floats(claim.get("values"), (reader.widths[of],))
        return reader.widths[of], lambda _source, done: operation(done[of], values)

    return read


def _fill(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    values = reader.parts.floats(claim.get("values"), (reader.widths[of],), finite=True)

    def step(_source: Source, done: list[Array]) -> Array:
        given = done[of]
        gaps = np.isnan(given)
        return np.where(gaps, values, given) if gaps.any() else given

    return reader.widths[of], step


def _missing(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    return reader.widths[of], lambda _source, done: np.isnan(done[of]).astype(np.float64)


def _absent(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    name = reader.name(claim.get("input"), "text")
    return 1, lambda source, _done: source.absent(name)[:, np.newaxis]


def _clip(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    low, high = reader.parts.floats(claim.get("ends"), (2,), finite=True).tolist()
    return reader.widths[of], lambda _source, done: np.clip(done[of], low, high)


def _guard(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of, accepts = reader.before(claim.get("of")), claim.get("accepts")
    if accepts not in ("finite", "nan"):
        raise BadForm("guard")

    def step(_source: Source, done: list[Array]) -> Array:
        require(done[of], accepts)
        return done[of]

    return reader.widths[of], step


def require(matrix: Array, accepts: str) -> None:
    """Decline what scikit-learn would refuse: anything but finite numbers, or infinite ones alone."""
    if accepts == "any" or np.isfinite(matrix).all():
        return
    if accepts == "finite" or np.isinf(matrix).any():
        raise Declined


def _bins(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    width = reader.widths[of]
    edges = reader.parts.floats(claim.get("edges"), (None,))
    ends = reader.parts.integers(claim.get("starts"), (width + 1,), 0, len(edges) + 1)
    runs = starts(ends, width, len(edges)).tolist()
    columns = [edges[runs[place] : runs[place + 1]] for place in range(width)]

    def step(_source: Source, done: list[Array]) -> Array:
        given = done[of]
        found = np.empty(given.shape)
        for place, edge in enumerate(columns):
            found[:, place] = np.searchsorted(edge, given[:, place], side="right")
        return found

    return width, step


def _power(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of, method = reader.before(claim.get("of")), claim.get("method")
    if method not in ("box-cox", "yeo-johnson"):
        raise BadForm("power")
    lambdas = reader.parts.floats(claim.get("lambdas"), (reader.widths[of],), finite=True).tolist()
    one = _box_cox if method == "box-cox" else _yeo_johnson

    def step(_source: Source, done: list[Array]) -> Array:
        given = done[of]
        with np.errstate(all="ignore"):
            return np.column_stack([one(given[:, place], each) for place, each in enumerate(lambdas)])

    return reader.widths[of], step


def _box_cox(values: Array, power: float) -> Array:
    """((x ** λ) - 1) / λ, or log x; as scipy.special.boxcox computes it. For positive numbers alone."""
    if (values <= 0).any():
        raise Declined
    if abs(power) < 1e-19:
        return np.asarray(np.log(values))
    return np.asarray(np.expm1(power * np.log(values)) / power)


def _yeo_johnson(values: Array, power: float) -> Array:
    """As scipy.stats.yeojohnson computes it, piece by piece."""
    found = np.zeros_like(values)
    positive = values >= 0
    above, below = values[positive], values[~positive]
    epsilon = np.finfo(np.float64).eps
    found[positive] = np.log1p(above) if abs(power) < epsilon else np.expm1(power * np.log1p(above)) / power
    rest = 2 - power
    found[~positive] = -np.expm1(rest * np.log1p(-below)) / rest if abs(rest) > epsilon else -np.log1p(-below)
    return found


def _quantile(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    width = reader.widths[of]
    references = reader.parts.floats(claim.get("references"), (None,), finite=True)
    quantiles = reader.parts.floats(claim.get("quantiles"), (width, len(references)), finite=True)
    if not len(references):
        raise BadForm("quantile")

    def step(_source: Source, done: list[Array]) -> Array:
        return np.column_stack(
            [_quantile_of(done[of][:, place], quantiles[place], references) for place in range(width)]
        )

    return width, step


def _quantile_of(values: Array, quantiles: Array, references: Array) -> Array:
    """The mean of the interpolation upwards and downwards, as QuantileTransformer takes it."""
    known = ~np.isnan(values)
    found = values.copy()
    given = values[known]
    up = np.interp(given, quantiles, references)
    down = np.interp(-given, -quantiles[::-1], -references[::-1])
    found[known] = 0.5 * (up - down)
    found[values == quantiles[-1]] = 1.0
    found[values == quantiles[0]] = 0.0
    return found


def _products(reader: Reader, claim: dict[str, Any]) -> tuple[int, Step]:
    of = reader.before(claim.get("of"))
    factors = reader.parts.integers(claim.get("factors"), (None, None), -1, reader.widths[of])
    if not 1 <= factors.shape[1] <= MAX_FACTORS:
        raise BadForm("products")
    rows = [[place for place in row if place >= 0] for row in factors.tolist()]

    def step(_source: Source, done: list[Array]) -> Array:
        given = done[of]
        found = np.ones((len(given), len(rows)))
        for place, row in enumerate(rows):
            for column in reversed(row):  # the order in which PolynomialFeatures multiplies
                found[:, place] *= given[:, column]
        return found

    return len(rows), step


OPS: dict[str, Callable[[Reader, dict[str, Any]], tuple[int, Step]]] = {
    "inputs": _inputs,
    "join": _join,
    "take": _take,
    "add": _arithmetic(np.add),
    "subtract": _arithmetic(np.subtract),
    "multiply": _arithmetic(np.multiply),
    "divide": _arithmetic(np.divide),
    "fill": _fill,
    "missing": _missing,
    "absent": _absent,
    "clip": _clip,
    "guard": _guard,
    "bins": _bins,
    "power": _power,
    "quantile": _quantile,
    "products": _products,
    "onehot": tables.one_hot,
    "lookup": tables.lookup,
}
