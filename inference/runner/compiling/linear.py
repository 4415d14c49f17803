"""Linear models: coefficients in float64, and what makes answers of their scores."""

from typing import Any

import numpy as np
from sklearn import discriminant_analysis, linear_model, svm

from .plan import Column, NotCompiled, Plan

CLASSIFIERS: dict[type, str] = {
    linear_model.LogisticRegression: "sigmoid",
    linear_model.LogisticRegressionCV: "sigmoid",
    linear_model.SGDClassifier: "sgd",
    linear_model.RidgeClassifier: "none",
    linear_model.RidgeClassifierCV: "none",
    linear_model.Perceptron: "none",
    linear_model.PassiveAggressiveClassifier: "none",
    svm.LinearSVC: "none",
    discriminant_analysis.LinearDiscriminantAnalysis: "sigmoid",
}
REGRESSORS: frozenset[type] = frozenset(
    {
        linear_model.LinearRegression,
        linear_model.Ridge,
        linear_model.RidgeCV,
        linear_model.Lasso,
        linear_model.LassoCV,
        linear_model.LassoLars,
        linear_model.LassoLarsCV,
        linear_model.LassoLarsIC,
        linear_model.ElasticNet,
        linear_model.ElasticNetCV,
        linear_model.Lars,
        linear_model.LarsCV,
        linear_model.OrthogonalMatchingPursuit,
        linear_model.OrthogonalMatchingPursuitCV,
        linear_model.SGDRegressor,
        linear_model.PassiveAggressiveRegressor,
        linear_model.HuberRegressor,
        linear_model.BayesianRidge,
        linear_model.ARDRegression,
        linear_model.TheilSenRegressor,
        linear_model.QuantileRegressor,
        linear_model.PoissonRegressor,
        linear_model.GammaRegressor,
        linear_model.TweedieRegressor,
        svm.LinearSVR,
    }
)
LINKS = {"IdentityLink": "identity", "LogLink": "exp"}


def knows(estimator: Any) -> bool:
    return type(estimator) in CLASSIFIERS or type(estimator) in REGRESSORS


def compile_linear(plan: Plan, estimator: Any, columns: list[Column]) -> dict[str, Any]:
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, "<f8"))
    intercepts = np.broadcast_to(np.asarray(estimator.intercept_, "<f8").ravel(), (len(coefficients),))
    link = _classifier_link(estimator) if type(estimator) in CLASSIFIERS else _regressor_link(estimator)
    if type(estimator) in REGRESSORS and len(coefficients) != 1:
        raise NotCompiled("it answers several questions at once")
    return {
        "kind": "linear",
        "of": plan.matrix(columns),
        "accepts": "finite",
        "coefficients": plan.array(coefficients.T),
        "intercepts": plan.array(intercepts),
        "link": link,
    }


def _classifier_link(estimator: Any) -> str:
    """How scores become probabilities; `none` where the classifier has no probabilities."""
    if not hasattr(estimator, "predict_proba"):
        return "none"
    link = CLASSIFIERS[type(estimator)]
    many = len(estimator.classes_) > 2
    if link == "sgd":
        if estimator.loss == "log_loss":
            return "ovr" if many else "sigmoid"
        raise NotCompiled(f"the probabilities of its loss {estimator.loss!r} have no compiled form")
    return "softmax" if many else "sigmoid"


def _regressor_link(estimator: Any) -> str:
    loss = getattr(estimator, "_base_loss", None)
    if loss is None:
        return "identity"
    name = type(loss.link).__name__
    if name not in LINKS:
        raise NotCompiled(f"its link {name} has no compiled form")
    return LINKS[name]
