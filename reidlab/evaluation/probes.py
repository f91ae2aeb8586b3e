"""What a frozen vector gives away: probes for every factor, against chance and a null.

Probes are scikit-learn's, so that measured leakage does not depend on our own optimiser. They are
fitted by one thread of BLAS: on matrices this small a second one gains nothing, and where another
process has its core, the two wait for each other by spinning and take seven times as long.
"""
import warnings
from typing import cast

import numpy as np
from threadpoolctl import threadpool_limits

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
        ``accuracy`` (balanced), ``chance`` (1 / classes), ``above_chance`` (their difference),
        ``permutation_95`` (95 % level of it when the true answers are shuffled against what was
        predicted), ``low`` and ``high`` (its 95 % interval over people).

    Raises:
        ReidlabError: an unknown kind, or labels that `unfit` names a reason for.
    """
    from sklearn.exceptions import ConvergenceWarning  # a second that only probes wait for
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if kind not in ("logistic", "mlp"):
        raise ReidlabError(f"unknown probe {kind!r}; known: logistic, mlp")
    if reason := unfit(train_labels, test_labels, kind):
        raise ReidlabError(f"no probe: {reason}")
    model = (LogisticRegression(solver="newton-cg", C=0.1) if kind == "logistic"
             else MLPClassifier((64,), max_iter=60, early_stopping=True, random_state=seed))
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(StandardScaler(), model).fit(train_features, train_labels)
    predicted = fitted.predict(test_features)
    classes, true = np.unique(np.asarray(test_labels), return_inverse=True)
    number = {value: k for k, value in enumerate(classes.tolist())}
    predicted = np.array([number.get(value, -1) for value in predicted.tolist()])
    base = 1 / len(classes)
    rng = np.random.default_rng(seed)
    null = [_balanced(rng.permutation(true), predicted) - base for _ in range(permutations)]
    people = np.arange(len(true)) if groups is None else np.asarray(groups)
    rows = [np.flatnonzero(people == p) for p in np.unique(people)]
    spread = []
    for _ in range(permutations):
        drawn = np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
        spread.append(_balanced(true[drawn], predicted[drawn]) - base)
    accuracy = _balanced(true, predicted)
    return {"accuracy": accuracy, "chance": base, "above_chance": accuracy - base,
            "permutation_95": float(np.quantile(null, 0.95)),
            "low": float(np.quantile(spread, 0.025)), "high": float(np.quantile(spread, 0.975))}


def unfit(train_labels, test_labels, kind: str = "logistic") -> str | None:
    """Why a probe of these labels would say nothing; None where it can be fitted and judged."""
    for labels, whom in ((train_labels, "to learn from"), (test_labels, "to be judged on")):
        if any(label is None for label in labels):
            return "not known of every picture"
        values, counts = np.unique(np.asarray(labels), return_counts=True)
        if len(values) == 1:
            return f"every person {whom} has the one value {values.tolist()[0]!r}"
        if kind == "mlp" and whom == "to learn from":
            if counts.min() == 1:
                return (f"one picture {whom} has the value {values.tolist()[counts.argmin()]!r}; "
                        "the MLP keeps some of each value apart")
            if -(-len(labels) // 10) < len(values):
                return (f"{len(labels)} pictures {whom} are too few for {len(values)} values: a "
                        "tenth of them is kept apart")
    return None


def _balanced(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that occur, of integer labels (scikit-learn's balanced
    accuracy, quick enough for a loop)."""
    counts, hits = np.bincount(true), np.bincount(true, weights=predicted == true)
    return float((hits[counts > 0] / counts[counts > 0]).mean())


def probe_matrix(fit: Embeddings, judge: Embeddings) -> dict:
    """Identity and clothing vectors × identity and clothing factors.

    Args:
        fit: embeddings the probes learn from (people of val).
        judge: embeddings they are scored on (people of test).

    Returns:
        ``{"matrix": {vector: {kind of factor: mean above chance, null}}, "factors": {vector:
        {factor: probe}}, "mlp": …, "baselines": …, "skipped": {factor: reason}}``; empty when
        factors are unknown. Baselines read the mean token, as it is and through a random
        projection to the same width. Factors of one value, and others that nothing can be learnt
        of, are skipped: no other key has them, and means are over the rest; None where none is
        left.
    """
    if not all(r.factors for r in fit.records + judge.records):
        return {}
    told = {factor: ([r.factors.get(factor) for r in fit.records],
                     [r.factors.get(factor) for r in judge.records])
            for factor in IDENTITY + CLOTHING}
    skipped = {factor: reason for factor, labels in told.items() if (reason := unfit(*labels))}
    told = {factor: labels for factor, labels in told.items() if factor not in skipped}
    headline, for_mlp = {f: told[f] for f in HEADLINE if f in told}, {}
    for factor, labels in headline.items():
        if reason := unfit(*labels, "mlp"):
            skipped[f"{factor} (mlp)"] = reason
        else:
            for_mlp[factor] = labels

    def read(vectors: tuple, labels: dict, kind: str = "logistic") -> dict:
        return {factor: probe(vectors[0], known, vectors[1], asked, kind=kind, groups=judge.pids)
                for factor, (known, asked) in labels.items()}
    vectors = {"identity": (fit.id_image, judge.id_image),
               "clothing": (fit.cloth_image, judge.cloth_image)}
    each = {name: read(pair, told) for name, pair in vectors.items()}
    return {"matrix": {name: {kind: _mean([found[f] for f in factors if f in found])
                              for kind, factors in (("identity", IDENTITY), ("clothing", CLOTHING))}
                       for name, found in each.items()},
            "baselines": {name: read(pair, headline) for name, pair in _baselines(fit, judge)},
            "factors": each,
            "mlp": {name: read(pair, for_mlp, "mlp") for name, pair in vectors.items()},
            "skipped": skipped,
            "fit_people": len(set(fit.pids)), "judged_people": len(set(judge.pids))}


def _mean(found: list[dict]) -> dict | None:
    """Mean over the factors of one kind; None where all were skipped."""
    return {key: float(np.mean([answer[key] for answer in found]))
            for key in ("above_chance", "chance", "permutation_95")} if found else None


def _baselines(fit: Embeddings, judge: Embeddings):
    """The mean token of both, as it is and through a random projection; nothing without tokens."""
    if fit.tokens is None:
        return
    asked = cast(np.ndarray, judge.tokens)  # both were made by one model
    random = np.random.default_rng(0).standard_normal((fit.tokens.shape[1], fit.id_image.shape[1]))
    for name, basis in (("tokens", np.eye(fit.tokens.shape[1])), ("random projection", random)):
        yield name, (fit.tokens @ basis, asked @ basis)
