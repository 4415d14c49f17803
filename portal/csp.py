"""The one exception to the strict policy: pages that draw charts, and the API's own documentation."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update

View = TypeVar("View", bound=Callable[..., Any])


def chart_page(view: View) -> View:
    """Plotly and Swagger place what they draw with style attributes; scripts and style sheets stay our own."""
    return cast(View, csp_update({"style-src-attr": [UNSAFE_INLINE], "style-src-elem": [SELF]})(view))
