"""The ITM head moves the best hits only, by as much as its weight allows."""
import numpy as np
import pytest
import torch

from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.reranking import rerank
from reidlab.evaluation.text_image import score_same_clothes
from reidlab.tasks import build
from tests.conftest import MATCHING, mini


@pytest.fixture(scope="module")
def asked(data):
    model = build(mini("corrected", **MATCHING), data.classes).eval()
    found = embed(model, data.test)
    similarity, _, _ = score_same_clothes(found, 1.0)["text_to_image"]
    from reidlab.evaluation.text_image import query_outfit_mask
    pictures = np.flatnonzero(query_outfit_mask(found.records))
    texts = [found.records[k].captions[0] for k in pictures]
    return model, similarity, texts, data.test, pictures


def test_only_the_best_move(asked):
    model, similarity, texts, split, pictures = asked
    again = rerank(model, similarity, texts, split, pictures, best=5)
    before, after = (np.argsort(-s, axis=1, kind="stable") for s in (similarity, again))
    assert (np.sort(before[:, :5]) == np.sort(after[:, :5])).all()
    assert (before[:, 5:] == after[:, 5:]).all() and (before[:, :5] != after[:, :5]).any()


def test_without_weight_nothing_moves_and_with_all_weight_the_itm_head_decides(asked):
    model, similarity, texts, split, pictures = asked
    still = rerank(model, similarity, texts, split, pictures, best=5, weight=0.0)
    assert (np.argsort(-similarity, axis=1, kind="stable")
            == np.argsort(-still, axis=1, kind="stable")).all()
    model.eval()
    again = rerank(model, similarity, texts, split, pictures, best=3, weight=1e4)
    with torch.inference_mode():
        from reidlab.data.packing import to_tensor
        _, tokens = model.image_features(to_tensor(split.images[pictures]))
        states, mask = model.text_encoder.states([texts[0]] * len(pictures))
        logits = model.itm_head(tokens, states, mask).numpy()
    top = np.argsort(-similarity[0], kind="stable")[:3]
    assert top[logits[top].argmax()] == again[0].argmax()
