"""Hard negatives: nearer than chance, never the same thing."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from reidlab.batches.text_image import Batches, SimilarCaptions, hard_negatives
from reidlab.losses.text_image import TextImageLoss
from reidlab.tasks import build
from tests.conftest import MATCHING, mini


@pytest.mark.covers("R3")
def test_chosen_negatives_are_more_similar_than_random_ones_and_no_duplicates(data):
    captions = [c for r in data.train.records for c in r.cloth_captions]
    similar = SimilarCaptions(captions)
    rng = np.random.default_rng(0)
    chosen, random = [], []
    for caption in captions[:40]:
        found = dict(zip(similar.captions, similar.similarity(caption), strict=True))
        near = similar.near(caption)
        assert caption not in near and max(found[c] for c in near) < similar.most
        chosen.append(found[near[0]])
        random.append(found[captions[rng.integers(len(captions))]])
    assert np.mean(chosen) > np.mean(random) + 0.1


@pytest.mark.covers("R2", "R3")
@pytest.mark.parametrize("kind", ["random", "similar"])
def test_negative_rows_come_from_another_person_in_other_words(data, kind):
    batches = Batches(data.train, mini("attention", data__negatives=kind))
    records, pids = data.train.records, data.train.pids
    wrong = [row for k in range(4) for row in batches.sampler.pick(k) if row[0] != row[2]]
    assert len(wrong) > 30
    for picture, caption, other, said in wrong:
        assert pids[picture] != pids[other]
        assert records[picture].cloth_captions[caption] != records[other].cloth_captions[said]


@pytest.mark.covers("R2")
@pytest.mark.parametrize("pairs", ["listed", "sampled"])
def test_another_person_in_the_same_words_is_no_negative(data, pairs):
    who = sorted(set(data.train.pids))
    records = [replace(r, cloth_captions=(("a red coat.", "a blue coat.")[who.index(r.pid) % 2],)
                       * len(r.captions)) for r in data.train.records]
    sampler = Batches(replace(data.train, records=records),
                      mini("attention", data__pairs=pairs)).sampler
    wrong = [row for k in range(4) for row in sampler.pick(k) if row[0] != row[2]]
    assert len(wrong) > 20
    for picture, caption, other, said in wrong:
        assert records[picture].cloth_captions[caption] != records[other].cloth_captions[said]


@pytest.mark.covers("R3")
def test_similar_negatives_are_harder_at_the_start_and_rarely_true(data):
    """Before training, from the shipped encoders: a text of similar words lies nearer to the own
    one than a random text does. It is true of the picture, too, where two wear one outfit."""
    torch.manual_seed(0)
    model = build(mini("attention"), data.classes).eval()
    close, shared = {}, {}
    for kind in ("random", "similar"):
        batches = Batches(data.train, mini("attention", data__negatives=kind))
        wrong = [row for k in range(6) for row in batches.sampler.pick(k) if row[0] != row[2]]
        own = [data.train.records[p].cloth_captions[c] for p, c, _, _ in wrong]
        said = [data.train.records[p].cloth_captions[c] for _, _, p, c in wrong]
        with torch.no_grad():
            close[kind] = (model.encode_cloth_text(own) * model.encode_cloth_text(said)).sum(dim=1)
        worn = [(data.train.records[a], data.train.records[b]) for a, _, b, _ in wrong]
        facts = [{k: v for k, v in record.factors.items() if k.startswith("outfit/")}
                 for pair in worn for record in pair]
        true = np.mean([a == b for a, b in zip(facts[::2], facts[1::2], strict=True)])
        assert true < {"random": 0.03, "similar": 0.15}[kind]  # somebody else in the same outfit
        similar = SimilarCaptions([c for r in data.train.records for c in r.cloth_captions])
        place = {caption: k for k, caption in enumerate(similar.captions)}
        shared[kind] = np.mean([similar.similarity(a)[place[b]]
                                for a, b in zip(own, said, strict=True)])
    assert shared["similar"] > shared["random"] + 0.1
    gain = close["similar"].mean() - close["random"].mean()  # a nearer negative, a larger loss
    spread = (close["similar"].var() / len(close["similar"])
              + close["random"].var() / len(close["random"])) ** 0.5
    assert gain > 2 * spread


def test_hard_negatives_share_words_and_mean_something_else(data):
    batches = Batches(data.train, mini("corrected", **MATCHING))
    batch = batches(0, hard_negatives=True)
    own = [f"{i} {c}" for i, c in zip(batch.id_text, batch.cloth_text, strict=True)]
    assert all(r in own and r != o for r, o in zip(batch.negative_text, own, strict=True))
    overlap = [len(set(r.split()) & set(o.split())) for r, o in zip(batch.negative_text, own,
                                                                    strict=True)]
    mean = np.mean([len(set(a.split()) & set(b.split())) for a in own for b in own if a != b])
    assert np.mean(overlap) > mean
    assert batches(0).negative_text is None
    same = np.ones((2, 2), bool)
    assert hard_negatives(["a b", "a c"], same, np.random.default_rng(0)) == ["a b", "a c"]


def test_the_loss_says_when_it_needs_hard_negatives():
    loss = TextImageLoss(mini("corrected", **MATCHING | {
        "loss__itm_start": 0.5, "loss__itm_every": 3}).loss, 128, 256)
    assert [loss.needs_negatives(step, 0.5) for step in range(4)] == [True, False, False, True]
    assert not loss.needs_negatives(0, 0.49)
    assert not TextImageLoss(mini("corrected").loss, 128, 256).needs_negatives(0, 1.0)
