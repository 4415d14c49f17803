"""What a compiled form says instead of an answer."""


class Declined(Exception):
    """These rows are none that the form answers; the runner says what scikit-learn makes of them."""
