"""What figures are called, and how they are told."""

from registry import measures


def test_figures_stand_in_the_order_in_which_people_read_them() -> None:
    """A JSON column of PostgreSQL gives short names back first."""
    names = ["f1", "auc", "accuracy", "zeta", "log_loss", "brier", "auc"]

    assert measures.in_order(names) == ["accuracy", "auc", "log_loss", "f1", "brier", "zeta"]
