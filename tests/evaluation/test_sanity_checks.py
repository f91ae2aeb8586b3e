"""Each sanity check is silent on honest data and loud on a planted leak."""
import dataclasses

import numpy as np
import pytest
import torch

from reidlab.data.records import Split
from reidlab.evaluation.sanity_checks import (
    gallery_reads_captions,
    permuted_queries,
    repeats,
    shared_people,
)
from reidlab.tasks import build
from tests.conftest import mini


def test_a_person_in_two_splits_is_found(data):
    assert not any(shared_people(data).values())
    leaking = dataclasses.replace(data, val=Split(data.train.records[:3], data.train.images[:3]))
    assert shared_people(leaking)["train", "val"]


@pytest.mark.covers("R11")
def test_captions_do_not_reach_the_gallery_unless_a_model_lets_them(data):
    model = build(mini(), data.classes)
    split = Split(data.test.records[:24], data.test.images[:24])
    assert gallery_reads_captions(model, split) == 0
    assert repeats(model, split)

    class Peeking(torch.nn.Module):  # stands for fused vectors on the gallery side
        def __init__(self):
            super().__init__()
            self.inner, self.text_encoder = model, model.text_encoder
            self.id_heads, self.cloth_heads = model.id_heads, model.cloth_heads

        def image_features(self, image):
            return self.inner.image_features(image)

        def embed(self, parts):
            said = self.inner.encode_text([self.records.pop(0).captions[0]
                                           for _ in range(len(parts.identity))])
            return said, said
    peeking = Peeking()
    order = np.random.default_rng(0).permutation(24)
    peeking.records = split.records + [split.records[k] for k in order]
    assert gallery_reads_captions(peeking, split) > 0.01


def test_permuted_queries_fall_to_chance():
    ids = np.arange(200)
    found = permuted_queries(np.eye(200), ids, ids)
    assert found["r1"] < 0.05 and found["chance"] == pytest.approx(1 / 200, abs=0.005)


def test_dropout_left_on_is_noticed(data):
    model = build(mini("attention"), data.classes)
    split = Split(data.test.records[:8], data.test.images[:8])
    assert repeats(model, split)
    model.eval = lambda: model.train(True)  # an evaluation that forgets eval()
    torch.manual_seed(0)
    assert not repeats(model, split)
