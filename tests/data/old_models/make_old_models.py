"""Make the files beside this script, in the environment whose versions their names carry.

Nothing here is imported by the tests: they take the files as an uploader would send them, with the answers that the
models gave where they were trained. Run it once in each environment:

    uv venv --python 3.11 old && uv pip install --python old scikit-learn==1.7.2 "numpy<2.4" "pandas<3" joblib
    uv venv --python 3.11 older && uv pip install --python older scikit-learn==1.5.2 numpy==1.26.4 "pandas<2.3" joblib
    old/bin/python tests/data/old_models/make_old_models.py
    older/bin/python tests/data/old_models/make_old_models.py

- linear: scaler and logistic regression; loads and agrees everywhere.
- ovr: the same for three classes, one against the rest. Later versions answer the same labels with other probabilities.
- imputed: with gaps filled; loads with warnings and fails at the first answer.
- boosted: gradient boosting on histograms; does not load.
- columns: a column transformer; from 1.5 it does not load.
"""

import platform
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).parent
ROWS = 120
NUMBERS = ["age", "income"]


def people() -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, ROWS).astype(float),
            "income": random.normal(1500, 400, ROWS).round(2),
            "city": random.choice(["Agra", "Delhi", "Pune"], ROWS),
        }
    )
    score = frame["age"] / 40 + frame["income"] / 1500 + random.normal(0, 0.3, ROWS) - 2.3
    frame["repaid"] = np.where(score > 0, "yes", "no")
    frame["band"] = np.select([score > 0.6, score > 0], ["high", "middle"], "low")
    return frame


def models(frame: pd.DataFrame) -> dict[str, tuple[Any, list[str], str]]:
    """By name: the model, the columns that it reads, the column that it answers."""
    scaled = make_pipeline(StandardScaler(), LogisticRegression())
    ovr = make_pipeline(StandardScaler(), LogisticRegression(multi_class="ovr"))
    imputed = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    columns = ColumnTransformer([("words", OneHotEncoder(), ["city"])], remainder=StandardScaler())
    return {
        "linear": (scaled, NUMBERS, "repaid"),
        "ovr": (ovr, NUMBERS, "band"),
        "imputed": (imputed, NUMBERS, "repaid"),
        "boosted": (HistGradientBoostingClassifier(max_iter=3, max_depth=2), NUMBERS, "repaid"),
        "columns": (make_pipeline(columns, LogisticRegression()), [*NUMBERS, "city"], "repaid"),
    }


def main() -> None:
    frame = people()
    frame.to_csv(HERE / "people.csv", index=False)
    for name, (model, columns, target) in models(frame).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            model.fit(frame[columns], frame[target])
        stem = HERE / f"{name}-{sklearn.__version__}"
        joblib.dump(model, stem.with_name(f"{stem.name}.joblib"), compress=3)
        answers = pd.DataFrame({"prediction": model.predict(frame[columns])})
        for place, label in enumerate(model.classes_):
            answers[f"probability_{label}"] = model.predict_proba(frame[columns])[:, place]
        answers.to_csv(stem.with_name(f"{stem.name}.csv"), index=False)
    print(
        f"made with Python {platform.python_version()}, scikit-learn {sklearn.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    main()
