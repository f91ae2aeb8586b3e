"""What a frozen vector gives away: probes for every factor, against chance and a null.

Probes are scikit-learn's, so that measured leakage does not depend on our own optimiser.
"""
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reidlab.errors import ReidlabError
from reidlab.evaluation.embeddings import Embeddings

IDENTITY = tuple(f"person/{n}" for n in (
    "sex", "build", "height", "skin", "hair_colour", "hair_style", "glasses", "beard"))
CLOTHING = tuple(f"outfit/{n}" for n in (
    "upper_type", "upper_colour", "upper_pattern", "lower_type", "lower_colour",
    "shoes_colour", "bag_type", "hat_type"))
HEADLINE = ("person/hair_colour", "outfit/upper_colour")  # also read by a small MLP


def probe(train_features, train_labels, test_features, test_labels, *, kind: str = "logistic",
          groups=None, permutations: int = 200, seed: int = 0) -> dict:
    """Balanced accuracy of reading a label from features, on people the probe never saw.

    Args:
        train_features: (n, D); test_features: (m, D).
        train_labels, test_labels: n and m values.
        kind: ``logistic``, or ``mlp`` with 64 hidden units.
        groups: (m,) person of each test row; the interval resamples people, not pictures.
        permutations: shufflings of the labels for the null.
        seed: of the MLP, the null and the interval.

    Returns:
        ``accuracy`` (balanced), ``chance`` (1 / classes), ``above`` (their difference), ``null``
        (95 % level of `above` when labels are shuffled), ``low`` and ``high`` (95 % interval of
        `above` over people).
    """
    if kind not in ("logistic", "mlp"):
        raise ReidlabError(f"unknown probe {kind!r}; known: logistic, mlp")
    model = (LogisticRegression(solver="newton-cg", C=0.1) if kind == "logistic"
             else MLPClassifier((64,), max_iter=60, early_stopping=True, random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(StandardScaler(), model).fit(train_features, train_labels)
    said = fitted.predict(test_features)
    classes, true = np.unique(np.asarray(test_labels), return_inverse=True)
    number = {value: k for k, value in enumerate(classes.tolist())}
    said = np.array([number.get(value, -1) for value in said.tolist()])
    base = 1 / len(classes)
    rng = np.random.default_rng(seed)
    null = [_balanced(rng.permutation(true), said) - base for _ in range(permutations)]
    people = np.arange(len(true)) if groups is None else np.asarray(groups)
    rows = [np.flatnonzero(people == p) for p in np.unique(people)]
    spread = []
    for _ in range(permutations):
        drawn = np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
        spread.append(_balanced(true[drawn], said[drawn]) - base)
    accuracy = _balanced(true, said)
    return {"accuracy": accuracy, "chance": base, "above": accuracy - base,
            "null": float(np.quantile(null, 0.95)),
            "low": float(np.quantile(spread, 0.025)), "high": float(np.quantile(spread, 0.975))}


def _balanced(true: np.ndarray, said: np.ndarray) -> float:
    """Mean recall over the classes that occur, of integer labels (scikit-learn's balanced
    accuracy, quick enough for a loop)."""
    counts, hits = np.bincount(true), np.bincount(true, weights=said == true)
    return float((hits[counts > 0] / counts[counts > 0]).mean())


def probe_matrix(fit: Embeddings, judge: Embeddings) -> dict:
    """Identity and clothing vectors × identity and clothing factors.

    Args:
        fit: embeddings the probes learn from (people of val).
        judge: embeddings they are scored on (people of test).

    Returns:
        ``{"matrix": {vector: {kind of factor: mean above chance, null}}, "factors": {vector:
        {factor: probe}}, "mlp": …, "baselines": …}``; empty when factors are unknown. Baselines
        read the mean token, as it is and through a random projection to the same width.
    """
    if not all(r.factors for r in fit.records + judge.records):
        return {}
    vectors = {"identity": (fit.id_image, judge.id_image),
               "clothing": (fit.cloth_image, judge.cloth_image)}
    asked = [(vector, factor, kind) for vector in vectors
             for kind, factors in (("logistic", IDENTITY + CLOTHING), ("mlp", HEADLINE))
             for factor in factors]
    answers = [probe(vectors[vector][0], [r.factors[factor] for r in fit.records],
                     vectors[vector][1], [r.factors[factor] for r in judge.records],
                     kind=kind, groups=judge.pids) for vector, factor, kind in asked]
    each: dict = {vector: {} for vector in vectors}
    mlp: dict = {vector: {} for vector in vectors}
    for (vector, factor, kind), answer in zip(asked, answers, strict=True):
        (each if kind == "logistic" else mlp)[vector][factor] = answer
    matrix = {vector: {kind: {key: float(np.mean([each[vector][f][key] for f in factors]))
                              for key in ("above", "chance", "null")}
                       for kind, factors in (("identity", IDENTITY), ("clothing", CLOTHING))}
              for vector in each}
    baselines = {} if fit.tokens is None else _baselines(fit, judge)
    return {"matrix": matrix, "baselines": baselines, "factors": each, "mlp": mlp,
            "fit_people": len(set(fit.pids)), "judged_people": len(set(judge.pids))}


def _baselines(fit: Embeddings, judge: Embeddings) -> dict:
    """What the mean token tells, as it is and through a random projection."""
    random = np.random.default_rng(0).standard_normal((fit.tokens.shape[1], fit.id_image.shape[1]))
    bases = {"tokens": np.eye(fit.tokens.shape[1]), "random projection": random}
    return {name: {factor: probe(
        fit.tokens @ basis, [r.factors[factor] for r in fit.records], judge.tokens @ basis,
        [r.factors[factor] for r in judge.records], groups=judge.pids) for factor in HEADLINE}
        for name, basis in bases.items()}
