"""How much a form may take of the process that it answers in: memory at once, and time in one call.

A graph's cost for one row is the narrow gate's account of it. Our own arrays are walked by code of ours, whose memory
is bounded alike and whose time is small beside that of reading the rows.
"""

from inference.compiled.container import BadForm

#: Numbers that are at hand at once; more rows are answered one part after the other.
CELLS_AT_ONCE = 4_000_000
#: Less where a thread holds them, in several shapes, while it waits for a runner.
CELLS_OF_A_QUESTION = 1_000_000
#: Multiplications of one call: chosen, a second or so. Beyond it the runner answers, which has a deadline.
WORK_OF_A_CALL = 1 << 28
LEAST_ROWS = 16  # that one call must have room for


def rows_at_once(cells: int) -> int:
    return max(1, CELLS_AT_ONCE // (cells + 1))


def rows_of_a_question(cells: int) -> int:
    """Rows that a runner is asked for at once, and never in parts: each would have the time of the whole call."""
    rows = CELLS_OF_A_QUESTION // (cells + 1)
    if rows < LEAST_ROWS:
        raise BadForm("too much work for one row")
    return rows


def most_rows(work: int) -> int:
    return WORK_OF_A_CALL // max(1, work)


def require_little(cells: int, work: int) -> None:
    if cells > CELLS_AT_ONCE or most_rows(work) < LEAST_ROWS:
        raise BadForm("too much work for one row")
