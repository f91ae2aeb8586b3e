"""Leakage, dependence, tables, ceilings: on features whose truth is known."""
import numpy as np
import pytest
import torch

from reidlab.data.records import Record, Split
from reidlab.engine.search import Searcher, halves, ranked_examples
from reidlab.evaluation.dependence import dependence, permutation_level
from reidlab.evaluation.embeddings import Embeddings, embed, embed_texts
from reidlab.evaluation.probes import probe
from reidlab.evaluation.text_image import (
    nearest_centroid_accuracy,
    query_outfit_mask,
    same_outfit_at_1,
    tables,
    text_image_scores,
)
from reidlab.runs.folder import RunFolder
from reidlab.tasks import build, load
from tests.conftest import mini
from tests.evaluation.test_ranking import slow

RNG = np.random.default_rng(0)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def truth(data):
    """Embeddings that are the known factors themselves: identity knows the person, clothing the
    outfit, both perfectly."""
    records = data.test.records
    people = {p: unit(RNG.normal(size=(1, 32)))[0] for p in data.test.pids.tolist()}
    outfits = {o: unit(RNG.normal(size=(1, 32)))[0] for o in data.test.outfits.tolist()}
    identity = np.stack([people[r.pid] for r in records])
    cloth = np.stack([outfits[r.outfit] for r in records])
    n = len(records)
    return Embeddings(records, identity, cloth, identity, cloth, np.arange(n), np.zeros(n, int))


def test_perfect_embeddings_score_one_everywhere(truth):
    found = tables(truth, 1.0)
    assert set(found) == {"same_clothes", "same_clothes_id_only", "clothes_changing"}
    for table in found.values():
        for scores in table.values():
            assert scores["r1"] == scores["map"] == scores["minp"] == 1
            assert 0 < scores["chance"]["r1"] < 0.3 < scores["ceiling"]["r1"] <= 1
    assert found["clothes_changing"]["text_to_image"]["same_outfit_at_1"] == 0


@pytest.mark.covers("R11", "R15")
def test_the_tables_of_a_report_are_those_of_a_slow_loop(run, data):
    """Never scaled, never capped: each printed number, of a trained model, counted by hand."""
    found = embed(load(run), data.test, mirror=False)
    worn = [k for k, record in enumerate(found.records) if query_outfit_mask([*found.records])[k]]
    others = sorted(set(range(len(found.records))) - set(worn))
    texts = [t for t, k in enumerate(found.picture) if k in set(worn)]
    pid = [record.pid for record in found.records]
    asked = [pid[found.picture[t]] for t in texts]
    both = (found.id_text[texts] @ found.id_image[worn].T
            + 0.7 * found.cloth_text[texts] @ found.cloth_image[worn].T)
    across = found.id_image[worn] @ found.id_image[others].T
    report = tables(found, 0.7)
    for (table, way), by_hand in {
            ("same_clothes", "text_to_image"): slow(both, asked, [pid[k] for k in worn]),
            ("same_clothes", "image_to_text"): slow(both.T, [pid[k] for k in worn], asked),
            ("clothes_changing", "image_to_image"): slow(
                across, [pid[k] for k in worn], [pid[k] for k in others])}.items():
        said = report[table][way]
        assert [said[name] for name in ("r1", "r5", "r10", "r20", "map", "minp")
                ] == pytest.approx(by_hand), (table, way)


@pytest.mark.covers("F12")
def test_training_brings_caption_and_picture_of_one_person_nearer_than_of_two(run, data):
    """Of people it has never seen; an untrained model does so by less."""
    def ahead(model):
        found = embed(model, data.test)
        alike = found.id_text @ found.id_image.T
        assert found.id_text.shape[1] == found.id_image.shape[1] == 256
        same = found.pids[found.picture][:, None] == found.pids
        return alike[same].mean() - alike[~same].mean()
    scratch = mini(image__pretrained=None, text__pretrained=None)
    assert ahead(load(run)) > 0.02 and ahead(load(run)) > 4 * ahead(build(scratch, 4).eval())


@pytest.mark.covers("R15")
def test_who_matches_clothes_follows_every_lure(truth):
    n = len(truth.records)
    dressed = Embeddings(truth.records, truth.cloth_image, truth.cloth_image, truth.cloth_text,
                         truth.cloth_text, np.arange(n), np.zeros(n, int))
    across = tables(dressed, 1.0)["clothes_changing"]["image_to_image"]
    assert across["same_outfit_at_1"] == 1 and across["r1"] == 0


def test_lambda_zero_leaves_clothing_out(truth):
    found = tables(truth, 0.0)
    assert found["same_clothes"] == found["same_clothes_id_only"] or (
        found["same_clothes"]["text_to_image"]["map"]
        == found["same_clothes_id_only"]["text_to_image"]["map"])


def test_galleries_are_what_their_names_say(truth):
    keep = query_outfit_mask(truth.records)
    assert keep.sum() * 3 == len(keep)
    first = {}
    for record, kept in zip(truth.records, keep, strict=True):
        assert kept == (first.setdefault(record.pid, record.outfit) == record.outfit)
    found = tables(truth, 1.0)
    assert found["same_clothes"]["text_to_image"]["gallery"] == keep.sum() == 48
    assert found["clothes_changing"]["image_to_image"]["gallery"] == (~keep).sum() == 96


def test_the_ceiling_is_one_over_the_number_of_indistinguishable_people():
    # four people, captions that only state the sex: two fit, so a reader is right half the time
    records = [Record(f"{k}", k, 0, ("a man",), ("a man",), ("",), outfit=k,
                      factors={f"person/{n}": 0 for n in (
                          "build", "height", "skin", "hair_colour", "hair_style", "beard",
                          "glasses")} | {"person/sex": "man" if k < 2 else "woman"},
                      facts=({"person/sex": "man" if k < 2 else "woman"},)) for k in range(4)]
    vectors = unit(np.eye(4))
    found = tables(Embeddings(records, vectors, vectors, vectors, vectors, np.arange(4),
                              np.zeros(4, int)), 1.0)
    assert found["same_clothes"]["text_to_image"]["ceiling"]["r1"] == pytest.approx(0.5, abs=0.26)


def test_unknown_outfits_give_the_public_protocol_only(truth):
    plain = [Record(r.path, r.pid, r.camid, r.captions, r.id_captions, r.cloth_captions)
             for r in truth.records]
    found = tables(Embeddings(plain, *[getattr(truth, f) for f in (
        "id_image", "cloth_image", "id_text", "cloth_text", "picture", "caption")]), 1.0)
    assert set(found) == {"same_clothes", "same_clothes_id_only"}
    assert found["same_clothes"]["text_to_image"]["gallery"] == len(plain)
    assert "ceiling" not in found["same_clothes"]["text_to_image"]


@pytest.mark.covers("R12")
def test_naming_people_from_one_outfit_to_the_others(truth):
    found = nearest_centroid_accuracy(truth)
    assert found == {"accuracy": 1.0, "chance": 1 / 12, "people": 12, "pictures": 96}
    n = len(truth.records)
    dressed = Embeddings(truth.records, truth.cloth_image, truth.cloth_image, truth.cloth_text,
                         truth.cloth_text, np.arange(n), np.zeros(n, int))
    assert nearest_centroid_accuracy(dressed)["accuracy"] < 0.3


def test_lure_rate_by_hand():
    similarity = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert same_outfit_at_1(similarity, np.array([7, 7]), np.array([7, 8])) == 0.5


def test_a_probe_reads_what_is_there_and_nothing_else():
    labels = RNG.integers(0, 4, 600)
    told = np.eye(4)[labels] + 0.1 * RNG.normal(size=(600, 4))
    noise = RNG.normal(size=(600, 8))
    people = np.repeat(np.arange(60), 5)
    for kind in ("logistic", "mlp"):
        found = probe(told[:300], labels[:300], told[300:], labels[300:], kind=kind, groups=people)
        assert found["accuracy"] > 0.95 and found["above_chance"] > found["permutation_95"]
        assert found["low"] <= found["above_chance"] <= found["high"] and found["chance"] == 0.25
    blind = probe(noise[:300], labels[:300], noise[300:], labels[300:], groups=people)
    assert abs(blind["above_chance"]) < 0.12 and blind["permutation_95"] < 0.1
    with pytest.raises(ValueError, match="known: logistic, mlp"):
        probe(noise, labels, noise, labels, kind="forest")


def test_balanced_accuracy_is_scikit_learns():
    from sklearn.metrics import balanced_accuracy_score

    from reidlab.evaluation.probes import _balanced
    true, said = RNG.integers(0, 3, 50), RNG.integers(0, 3, 50)
    assert _balanced(true, said) == pytest.approx(balanced_accuracy_score(true, said))


@pytest.mark.covers("R8")
def test_dependence_and_its_level_by_chance():
    x = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    y = torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    apart, same = dependence(x, y), dependence(x, x)
    assert abs(apart["cka"]) < 0.05 and same["cka"] == pytest.approx(1, abs=1e-4)
    level = permutation_level(x, y)
    assert 0 < level < 0.05 < dependence(x, x + y)["cka"]


@pytest.mark.covers("R6", "E4")
def test_embedding_puts_the_model_back_and_equals_encode(run, data):
    model = load(run).train()
    found = embed(model, data.test, batch_size=7)
    assert model.training
    model.eval()
    from reidlab.data.packing import to_tensor
    with torch.no_grad():
        image = model.encode_image(to_tensor(data.test.images[:5])).numpy()
        text = model.encode_text([r.id_captions[0] for r in data.test.records[:5]]).numpy()
    assert np.allclose(found.id_image[:5], image, atol=1e-5)
    assert np.allclose(found.id_text[:5], text, atol=1e-5)


def test_a_mirrored_embedding_is_the_mean_over_a_picture_and_its_mirror_image(run, data):
    model = load(run)
    few = Split(data.test.records[:30], data.test.images[:30])
    turned = Split(few.records, few.images[:, :, ::-1].copy())
    plain, other = embed(model, few), embed(model, turned)
    both = embed(model, few, mirror=True)
    for side in ("id_image", "cloth_image"):
        mean = getattr(plain, side) + getattr(other, side)
        mean /= np.linalg.norm(mean, axis=1, keepdims=True)
        assert np.allclose(getattr(both, side), mean, atol=1e-5)
        assert not np.allclose(getattr(plain, side), mean, atol=1e-3)
        assert np.allclose(getattr(embed(model, turned, mirror=True), side), mean, atol=1e-5)
    assert np.allclose(both.tokens, (plain.tokens + other.tokens) / 2, atol=1e-5)
    assert np.array_equal(both.id_text, plain.id_text)


@pytest.mark.parametrize("mirror", [True, False])
def test_reports_searches_and_examples_read_pictures_as_scoring_says(run, data, tmp_path, mirror):
    import json
    import shutil
    folder = shutil.copytree(run, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["experiment"]["scoring"]["mirror"] = mirror
    (folder / "config.json").write_text(json.dumps(config))
    experiment, model = RunFolder(folder).experiment(), load(folder)
    found = embed(model, data.test, mirror=mirror)
    report = text_image_scores(experiment, model, data)
    assert report["tables"]["test"] == tables(found, 1.0)
    assert report["protocol"]["pictures"] == (
        "averaged with their mirror images" if mirror else "as they are")
    said = "a tall man with red hair"  # nothing of clothes
    asked = embed_texts(model, [halves(said)[0]], model.id_heads)[0]
    assert Searcher(folder).find(said, k=1)[0].score == pytest.approx(
        (found.id_image @ asked).max(), abs=1e-4)
    keep = query_outfit_mask(found.records)
    score = found.id_text[0] @ found.id_image[keep].T + found.cloth_text[0] @ found.cloth_image[
        keep].T
    shown = ranked_examples(model, data.test, experiment.scoring, count=1, hits=1)[0]["hits"][0]
    assert shown[1] == pytest.approx(score.max(), abs=1e-4)


@pytest.mark.covers("R11", "R12")
def test_the_report_has_every_table_with_chance_ceiling_and_probes(run):
    import json
    report = json.loads((run / "report.json").read_text())
    assert report["protocol"] and report["seed"] == 0 and report["commit"]
    assert report["counts"]["test"] == {"people": 12, "pictures": 144}
    for split in ("val", "test"):
        for table in report["tables"][split].values():
            for scores in table.values():
                assert {"r1", "r5", "r10", "map", "minp", "chance", "ceiling", "queries",
                        "skipped"} <= set(scores)
    assert set(report["probes"]["matrix"]) == {"identity", "clothing"}
    assert 0 <= report["identification"]["accuracy"] <= 1
    assert {"cka", "cka_permutation_95"} <= set(report["dependence"])
