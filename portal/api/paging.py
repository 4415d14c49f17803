"""Lists: `{"count", "next", "previous", "results"}`, by `limit` and `offset`."""

from rest_framework.pagination import LimitOffsetPagination


class Pagination(LimitOffsetPagination):
    """50 unless asked otherwise, never more than 500."""

    default_limit = 50
    max_limit = 500
