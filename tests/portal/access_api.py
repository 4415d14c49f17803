"""The API's part of the access table: the same visitors, with their sessions.

401 says who one would have to be, 403 which role is missing, 404 that one may not know of the thing, 409 and 422 that
the visitor was let in and the body (there is none) or the state of the thing did not do.
"""

#: What each argument of an address is called in `World.names`, where its own name does not say.
API_NAMES = {
    **{
        f"api:request-{name}": {"request_id": "request"}
        for name in ("detail", "approve", "reject", "changes", "withdraw")
    },
    "api:key-rotate": {"pk": "key"},
    "api:key-revoke": {"pk": "key"},
    "api-nowhere": {"path": "nowhere"},
}

API_TABLE: dict[tuple[str, str], str] = {
    ("api-schema", "GET"): "401 200 200 200 200 200 200 200 200",
    ("api-docs", "GET"): "302 200 200 200 200 200 200 200 200",
    ("api:model-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:model-list", "POST"): "401 403 403 422 403 403 403 403 403",
    ("api:model-detail", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:model-detail", "PATCH"): "401 403 403 200 403 403 403 403 403",
    ("api:dataset-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:dataset-list", "POST"): "401 403 403 422 403 403 403 403 403",
    ("api:dataset-detail", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:environment-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:version-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:version-list", "POST"): "401 403 403 422 403 403 403 403 403",
    ("api:version-detail", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:version-detail", "PATCH"): "401 403 403 409 403 403 403 403 403",
    ("api:version-checks", "POST"): "401 403 403 409 403 403 403 403 403",
    ("api:version-admit", "POST"): "401 403 403 403 409 403 403 403 403",
    ("api:version-retire", "POST"): "401 403 403 422 403 422 403 403 403",
    ("api:version-artifact", "GET"): "401 403 403 200 200 403 200 403 403",
    ("api:request-create", "POST"): "401 403 403 422 403 403 403 403 403",
    ("api:request-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:request-detail", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:request-approve", "POST"): "401 403 403 403 200 403 403 403 403",
    ("api:request-reject", "POST"): "401 403 403 403 422 403 403 403 403",
    ("api:request-changes", "POST"): "401 403 403 403 422 403 403 403 403",
    ("api:request-withdraw", "POST"): "401 403 403 200 403 403 403 403 403",
    ("api:release-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:release-list", "POST"): "401 403 403 403 403 422 403 403 403",
    ("api:rollback", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:rollback", "POST"): "401 403 403 403 403 422 403 403 403",
    ("api:unfreeze", "POST"): "401 403 403 403 403 422 403 403 403",
    ("api:served-at", "GET"): "401 403 422 422 422 422 422 422 422",
    ("api:audit-list", "GET"): "401 403 403 403 403 403 200 403 200",
    ("api:audit-verify", "GET"): "401 403 403 403 403 403 200 403 200",
    ("api:audit-export", "GET"): "401 403 403 403 403 403 200 403 200",
    ("api:key-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:key-list", "POST"): "401 422 422 422 422 422 422 422 422",
    ("api:key-rotate", "POST"): "401 404 201 404 404 404 404 404 403",
    ("api:key-revoke", "POST"): "401 404 200 404 404 404 404 404 200",
    ("api:predict", "POST"): "401 403 422 422 422 422 403 422 403",
    ("api:compare", "GET"): "401 403 422 422 422 422 422 422 422",
    ("api:prediction-detail", "GET"): "401 403 200 404 404 404 200 404 404",
    ("api:feedback", "POST"): "401 403 422 422 403 403 403 422 403",
    ("api:batch-create", "POST"): "401 403 422 422 422 422 403 422 403",
    ("api:check-file", "POST"): "401 403 422 422 422 422 403 422 403",
    ("api:batch-list", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:batch-detail", "GET"): "401 403 200 200 404 200 200 404 404",
    ("api:batch-run", "POST"): "401 403 409 403 404 409 403 404 403",
    ("api:batch-cancel", "POST"): "401 403 200 403 404 200 403 404 403",
    ("api:batch-retry", "POST"): "401 403 409 403 404 409 403 404 403",
    ("api:batch-rerun", "POST"): "401 403 410 403 404 403 403 404 403",
    ("api:batch-result", "GET"): "401 403 409 403 404 403 409 404 404",
    ("api:batch-problems", "GET"): "401 403 409 403 404 403 409 404 404",
    ("api:drift", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:drift-check", "POST"): "401 403 403 200 403 200 403 403 403",
    ("api:drift-evaluate", "POST"): "401 403 422 422 422 422 422 422 422",
    ("api:performance", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:service", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:monitoring", "GET"): "401 403 200 200 200 200 200 200 200",
    ("api:monitoring", "PUT"): "401 403 403 200 403 200 403 403 403",
    ("api-nowhere", "GET"): "404 404 404 404 404 404 404 404 404",
}
