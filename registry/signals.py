"""What the registry tells the apps above: sent after commit, with ids only."""

from django.dispatch import Signal

model_deleted = Signal()  # model_id
dataset_added = Signal()  # dataset_id
policy_changed = Signal()  # model_id
version_uploaded = Signal()  # version_id
version_checked = Signal()  # version_id, passed
version_quarantined = Signal()  # version_id, reason
quarantine_lifted = Signal()  # version_id
request_made = Signal()  # request_id
request_decided = Signal()  # request_id
serving_changed = Signal()  # release_id
way_in_changed = Signal()  # user_id, action, by, event: an administrator changed how somebody signs in
