"""Which ONNX files may be opened, and where. Everything here looks at bytes; nothing here runs a graph.

`wide` is for what the jailed runner serves: standard operators only, nothing that names files, hides code in functions
or loops without an end. `narrow` is for what a process of ours may open beside its secrets: a short list of operators
of known shapes, whose memory and work per row are bounded before the first row arrives, and trees that end.

`wire` bounds the bytes before they become objects · `graph` reads them and knows what holds for every file ·
`shapes` are the operators of the narrow gate · `estimators` are those whose numbers point into one another.
"""

from .gates import NARROW_BYTES, WIDE_BYTES, narrow, wide
from .graph import Graph, Value

__all__ = ["NARROW_BYTES", "WIDE_BYTES", "Graph", "Value", "narrow", "wide"]
