"""The one exception to the strict policy: pages that draw charts, and the API's own documentation."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update

# Plotly and Swagger place what they draw with style attributes; scripts and style sheets stay our own.
chart_page = csp_update({"style-src-attr": [UNSAFE_INLINE], "style-src-elem": [SELF]})
