"""Pages of the record: models and their data, versions, approvals, releases."""
