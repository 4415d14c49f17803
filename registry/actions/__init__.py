"""The verbs of governance. Each decides permission, race and reason, and writes its audit event beside the change."""
