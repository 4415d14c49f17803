"""The two gates."""

import dataclasses
from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _

from registry.errors import Refused

from . import estimators, graph, shapes
from .refusals import damaged, refused, shown, too_large

NARROW_BYTES = 256 << 20
WIDE_BYTES = 1 << 30

#: Operators of the standard that even the jail does not serve. Those with bodies are refused by their bodies, too.
NOT_SERVED = {
    **dict.fromkeys(("Loop", "SequenceMap"), "control_flow"),
    **dict.fromkeys(
        (
            "RandomNormal",
            "RandomNormalLike",
            "RandomUniform",
            "RandomUniformLike",
            "Multinomial",
            "Bernoulli",
        ),
        "random",
    ),
    "ImageDecoder": "decoder",
}


def wide(data: bytes) -> graph.Graph:
    """What the jailed runner may serve; Invalid, with a sentence and a fix, for all else."""
    return _guarded(data, WIDE_BYTES, _is_served)


def narrow(data: bytes) -> graph.Graph:
    """What a process of ours may open; Invalid, with a sentence and a fix, for all else."""
    return _guarded(data, NARROW_BYTES, _is_bounded)


def _guarded(data: bytes, limit: int, rules: Callable[[Any, graph.Graph], graph.Graph]) -> graph.Graph:
    if len(data) > limit:
        raise too_large(_("bytes"), len(data), limit)
    try:
        model = graph.parse(data)
        graph.check(model)
        found = graph.describe(model, len(data))
        return rules(model, found)
    except Refused:
        raise
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError, MemoryError):
        raise damaged() from None


def _is_served(model: Any, found: graph.Graph) -> graph.Graph:
    import onnx

    for body in graph.bodies(model.graph):
        for node in body.node:
            domain = graph.domain_of(node.domain)
            if node.op_type in NOT_SERVED or not onnx.defs.has(node.op_type, domain):
                raise _not_served(node)
    return found


def _not_served(node: Any) -> Refused:
    why, fix = {
        "control_flow": (
            _("repeats a part of the graph, perhaps without an end"),
            _("Unroll the loop, or use LSTM, GRU or RNN operators, and export the model again."),
        ),
        "random": (
            _("gives other answers to the same row each time"),
            _("Export the model for inference, without random steps."),
        ),
        "decoder": (_("reads files of other formats"), _("Decode the pictures before asking the model.")),
    }.get(
        NOT_SERVED.get(node.op_type, ""),
        (
            _("is not part of ONNX"),
            _("Export the model with standard operators only (ai.onnx and ai.onnx.ml)."),
        ),
    )
    return refused(
        "operator",
        _("Operator “%(operator)s” (%(place)s) %(why)s.")
        % {"operator": shown(node.op_type), "place": graph.place_of(node), "why": why},
        fix,
    )


def _is_bounded(model: Any, found: graph.Graph) -> graph.Graph:
    walk = shapes.Walk(model, _is_served(model, found))
    for node in model.graph.node:
        walk.step(node)
        estimators.check(node, walk)
    walk.finish()
    return dataclasses.replace(found, widest=walk.widest, numbers=walk.numbers, work=walk.work)
