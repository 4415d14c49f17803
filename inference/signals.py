"""What inference tells the apps above, after commit, with ids."""

from django.dispatch import Signal

batch_ended = Signal()  # batch_id
feedback_given = Signal()  # model_id, version_ids, feedback_ids
model_crashing = Signal()  # version_id: its runners died five times within a minute; it rests for one
problem_reported = Signal()  # report_id: somebody says what is wrong with a prediction
