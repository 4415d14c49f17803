"""One module a subject: models, versions, approvals, releases, audit, keys."""
