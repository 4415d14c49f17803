"""Write the demo models of this folder and what `shap` says about them: `PYTHONPATH=. python …/make_reference.py`.

Run it where the locked packages and `shap>=0.54` are installed (Python 3.12 or later); the suite itself needs neither
`shap` nor this script. Values are summed over the encoded columns of each input column.
"""

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import shap

from portal.demo import training

HERE = Path(__file__).parent
ROWS = 20
BACKGROUND = 200
RECIPES = {
    recipe.name: recipe
    for recipe in (*training.EMPLOYMENT, *training.DIABETES, *training.WINE)
    if recipe.name in ("employment-gradient-boosting", "diabetes-random-forest", "wine-logistic-regression")
}


def main() -> None:
    for recipe in RECIPES.values():
        training.train(recipe, HERE)
        path = HERE / recipe.filename
        model = joblib.load(path)
        joblib.dump(model, path, compress=("lzma", 9))
        tables = recipe.tables()
        background = training.inputs(tables.training, recipe.target).head(BACKGROUND)
        rows = training.inputs(tables.evaluation, recipe.target).head(ROWS)
        values, base = _explain(model, rows, background)
        reference = {
            "shap": shap.__version__,
            "background": json.loads(background.to_json(orient="records", double_precision=15)),
            "rows": json.loads(rows.to_json(orient="records", double_precision=15)),
            "values": _by_column(model, list(rows.columns), values).tolist(),
            "base": np.atleast_1d(base).tolist(),
        }
        (HERE / f"{recipe.name}.json").write_text(json.dumps(reference))
        print(recipe.name, path.stat().st_size, values.shape)


def _explain(model: Any, rows: Any, background: Any) -> tuple[Any, Any]:
    """rows × encoded columns (× classes) and the base of each class."""
    prepare, estimator = model[:-1], model.steps[-1][1]
    encoded = np.asarray(prepare.transform(rows), float)
    if hasattr(estimator, "coef_"):
        masker = shap.maskers.Independent(
            np.asarray(prepare.transform(background), float), max_samples=BACKGROUND
        )
        explainer = shap.LinearExplainer(estimator, masker)
    else:
        explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    explained = explainer(encoded)
    return explained.values, explainer.expected_value


def _by_column(model: Any, columns: list[str], values: Any) -> Any:
    """rows × input columns (× classes): the numbers and words of the demo's pipelines are one column each."""
    prepare = model[:-1]
    names = columns
    if hasattr(prepare.steps[0][1], "transformers_"):
        names = [name for _part, _step, chosen in prepare.steps[0][1].transformers_ for name in chosen]
    assert values.shape[1] == len(names)
    return values[:, [names.index(name) for name in columns]]


if __name__ == "__main__":
    main()
