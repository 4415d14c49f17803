"""What monitoring tells the apps above: sent after commit, with ids only."""

from django.dispatch import Signal

incident_opened = Signal()  # incident_id
incident_resolved = Signal()  # incident_id
