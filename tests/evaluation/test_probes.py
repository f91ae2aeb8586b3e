"""A factor that nobody can learn, or be judged on, is skipped and named; the rest is scored."""
import dataclasses
import json

import numpy as np
import pytest

from reidlab.data.records import Record, Split
from reidlab.engine.evaluate import markdown
from reidlab.errors import ReidlabError
from reidlab.evaluation.embeddings import Embeddings
from reidlab.evaluation.probes import CLOTHING, HEADLINE, IDENTITY, probe, probe_matrix
from reidlab.evaluation.studies import layer_probes
from reidlab.evaluation.summary import probes
from reidlab.tasks import build
from tests.conftest import mini

FACTORS = IDENTITY + CLOTHING
KEYS = {"matrix", "factors", "mlp", "baselines", "fit_people", "judged_people", "skipped"}


def people(count, seed, **fixed):
    """`count` people with six pictures each; factors are drawn, but for those that are fixed."""
    rng = np.random.default_rng(seed)
    records = []
    for pid in range(count):
        who = {f: str(rng.integers(3)) for f in FACTORS} | {
            name.replace("__", "/"): value for name, value in fixed.items()}
        records += [Record(f"{pid}/{k}", pid, 0, factors=who) for k in range(6)]
    vectors = rng.standard_normal((4, len(records), 8)).astype(np.float32)
    return Embeddings(records, *vectors, np.zeros(0, int), np.zeros(0, int),
                      tokens=rng.standard_normal((len(records), 12)))


@pytest.fixture(scope="module")
def plain():
    return people(30, 0), people(30, 1)


def test_nothing_is_skipped_where_every_factor_varies(plain):
    found = probe_matrix(*plain)
    assert set(found) == KEYS and found["skipped"] == {}
    assert set(found["factors"]["identity"]) == set(FACTORS) and set(found["mlp"]["identity"]) == (
        set(HEADLINE))


@pytest.mark.parametrize(("fit_has", "judge_has"), [(True, False), (False, True), (True, True)])
def test_a_factor_of_one_value_is_skipped_and_named(fit_has, judge_has, plain):
    """Eight people who all wear glasses teach no probe what glasses are."""
    same = {"person__glasses": "round"}
    fit = people(8 if fit_has else 30, 2, **(same if fit_has else {}))
    judge = people(8 if judge_has else 30, 3, **(same if judge_has else {}))
    found = probe_matrix(fit, judge)
    assert set(found["skipped"]) == {"person/glasses"}
    whom = "to learn from" if fit_has else "to be judged on"
    assert found["skipped"]["person/glasses"] == f"every person {whom} has the one value 'round'"
    for vector in ("identity", "clothing"):
        assert set(found["factors"][vector]) == set(FACTORS) - {"person/glasses"}
        left = [f for f in IDENTITY if f != "person/glasses"]
        for key in ("above_chance", "chance", "permutation_95"):
            assert found["matrix"][vector]["identity"][key] == pytest.approx(
                np.mean([found["factors"][vector][f][key] for f in left]))
    json.dumps(found)


def test_a_headline_factor_of_one_value_is_left_out_of_every_table():
    same = {"person__hair_colour": "black"}
    found = probe_matrix(people(12, 2, **same), people(12, 3))
    assert "person/hair_colour" in found["skipped"]
    for table in (found["factors"], found["mlp"], found["baselines"]):
        assert all("person/hair_colour" not in row and "outfit/upper_colour" in row
                   for row in table.values())
    table = probes([{"preset": "corrected", "probes": found}])
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")]
    assert cells[1:3] == ["identity", "corrected"] and cells[5] == "–" and cells[6] != "–"
    assert cells[7].startswith("– / 0.")


def test_with_every_factor_of_a_kind_skipped_its_mean_is_none_and_a_dash():
    same = {name.replace("/", "__"): "one" for name in CLOTHING}
    found = probe_matrix(people(12, 2, **same), people(12, 3))
    assert found["matrix"]["identity"]["clothing"] is None
    assert found["matrix"]["clothing"]["identity"]["above_chance"] == pytest.approx(0, abs=0.3)
    report = {"task": "text-image", "preset": "corrected", "probes": found, "tables": {"test": {}}}
    assert "| identity | corrected | " in markdown([report])
    assert probes([report]).splitlines()[2].split("|")[4].strip() == "–"
    nobody = probe_matrix(people(12, 2, **same | {n.replace("/", "__"): "one" for n in IDENTITY}),
                          people(12, 3))
    assert set(nobody["skipped"]) == set(FACTORS) and nobody["factors"]["identity"] == {}
    assert nobody["matrix"]["identity"] == {"identity": None, "clothing": None}


def test_too_few_pictures_for_the_mlp_skip_the_mlp_alone():
    """It keeps a tenth of its pictures apart, and at least one of each value among them."""
    fit, judge = people(2, 2, person__hair_colour="x"), people(12, 3)
    fit.records[:6] = [dataclasses.replace(r, factors=r.factors | {"person/hair_colour": value})
                       for r, value in zip(fit.records[:6], "yyyzzz", strict=True)]
    found = probe_matrix(fit, judge)
    assert "person/hair_colour" in found["factors"]["identity"]
    assert "person/hair_colour" not in found["mlp"]["identity"]
    assert found["skipped"]["person/hair_colour (mlp)"] == (
        "12 pictures to learn from are too few for 3 values: a tenth of them is kept apart")
    lone = people(12, 2, person__hair_colour="x")
    lone.records[0] = dataclasses.replace(lone.records[0], factors=lone.records[0].factors
                                          | {"person/hair_colour": "y"})
    assert probe_matrix(lone, judge)["skipped"]["person/hair_colour (mlp)"] == (
        "one picture to learn from has the value 'y'; the MLP keeps some of each value apart")


def test_a_single_probe_of_one_value_is_one_line():
    x, labels = np.random.default_rng(0).standard_normal((12, 3)), ["a", "b"] * 6
    with pytest.raises(ReidlabError, match="no probe: every person to learn from has the one "):
        probe(x, ["a"] * 12, x, labels)
    with pytest.raises(ReidlabError, match="no probe: every person to be judged on has the one "):
        probe(x, labels, x, ["a"] * 12)
    with pytest.raises(ReidlabError, match="no probe: 6 pictures to learn from are too few for 2"):
        probe(x[:6], labels[:6], x, labels, kind="mlp")


def test_layers_are_read_without_the_factor_of_one_value(data):
    model = build(mini("attention"), data.classes)
    fit, judge = (Split([dataclasses.replace(r, factors=r.factors | {"person/hair_colour": "red"})
                         for r in s.records[:24]], s.images[:24]) for s in (data.val, data.test))
    found = layer_probes(model, fit, judge)
    assert found and all(set(row) == {"outfit/upper_colour"} for row in found.values())


def test_a_factor_that_some_picture_does_not_know_is_skipped(plain):
    fit, judge = plain[0], people(30, 5)
    judge.records[7] = dataclasses.replace(judge.records[7], factors={
        k: v for k, v in judge.records[7].factors.items() if k != "person/beard"})
    assert probe_matrix(fit, judge)["skipped"] == {"person/beard": "not known of every picture"}
    note = probes([{"preset": "corrected", "probes": probe_matrix(fit, judge)}]).splitlines()[-1]
    assert note == "Not probed: person/beard (not known of every picture)."
