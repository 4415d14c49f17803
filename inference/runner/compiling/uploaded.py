"""A graph that was uploaded: which columns go into it, and which output is what. The graph itself stays as it is.

Whoever opens the form reads the graph from the approved file, never from here.
"""

import math
from collections.abc import Sequence
from typing import Any

from .. import graphs, scoring
from .plan import TEXT_TYPES, NotCompiled, Plan


def compile_upload(scorer: graphs.GraphScorer, columns: Sequence[tuple[str, str]]) -> bytes:
    """The claims about a graph for rows with these columns; NotCompiled where a column would need a conversion."""
    inputs = [(name, "text" if kind in TEXT_TYPES else "number") for name, kind in columns]
    places = {name: place for place, (name, _kind) in enumerate(inputs)}
    names = scorer.features or list(places)
    if missing := [name for name in names if name not in places]:
        raise NotCompiled(f"the schema lacks the column {missing[0]!r}")
    given = [[places[name] for name in names]] if scorer.is_one_table else [[places[name]] for name in names]
    feeds = []
    for each, taken in zip(scorer.inputs, given, strict=True):
        wanted = "text" if each.type == graphs.TEXT else "number"
        if other := [inputs[place][0] for place in taken if inputs[place][1] != wanted]:
            raise NotCompiled(f"the graph takes the column {other[0]!r} as another type")
        if not all(isinstance(side, int) for side in each.shape[1:]) or len(taken) != math.prod(
            each.shape[1:]
        ):
            raise NotCompiled(f"the input {each.name!r} takes another number of columns")
        feeds.append([each.name, taken])
    model = {"kind": "onnx", "feeds": feeds, **_outputs(scorer)}
    return Plan(inputs).pack(model, graphs.versions())


def _outputs(scorer: graphs.GraphScorer) -> dict[str, Any]:
    names = [each.name for each in scorer.session.get_outputs()]
    found = scorer.outputs
    if not found.is_classifier:
        return {"label": None, "scores": names[found.numbers[0]], "classes": None, "probabilities": False}
    scores = [*found.maps, *found.numbers] if found.has_probabilities else []
    return {
        "label": names[found.labels[0]] if found.labels else None,
        "scores": names[scores[0]] if scores else None,
        "classes": [scoring.plain(label) for label in found.classes],
        "probabilities": found.has_probabilities,
    }
