"""One module a subject: predictions and outcomes, batches."""
