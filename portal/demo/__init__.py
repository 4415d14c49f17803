"""The demo: real data, real models, and people who put them through the same verbs as everybody else.

Nothing here has a way of its own into the record. What the demo shows was uploaded, checked, asked for, approved,
released, scored and answered for by demo people; only the calendar is moved, by "as of", and that is audited.
"""
