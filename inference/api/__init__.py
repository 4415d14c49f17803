"""Running models over HTTP: predictions, outcomes, batches."""
