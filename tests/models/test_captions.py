"""Captions given as one string, or in numbers that do not fit the pictures."""
import pytest
import torch

from reidlab.errors import ReidlabError
from reidlab.presets import preset
from reidlab.tasks import build
from tests.conftest import MATCHING, mini

MAN, COAT = "A tall man with red hair.", "Wearing a red coat and jeans."


def picture(count=1):
    return torch.randn(count, 3, 96, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    return build(mini("corrected", loss__weights__fine_grained=1.0, **MATCHING), 4).eval()


@pytest.mark.parametrize(("id_text", "cloth_text"), [
    (MAN, COAT), (MAN, [COAT]), ([MAN], COAT), ((MAN,), (COAT,))])
def test_a_plain_string_is_a_list_of_one(model, id_text, cloth_text):
    """Letter by letter, or left out, the whole description would say something else."""
    lists = model(picture(), id_text=[MAN], cloth_text=[COAT], negative_text=["A woman."])
    found = model(picture(), id_text=id_text, cloth_text=cloth_text, negative_text="A woman.")
    for name in ("id_text_embeds", "cloth_text_embeds", "token_similarity", "itm_logits"):
        assert torch.equal(getattr(found, name), getattr(lists, name)), name
    assert found.id_text_embeds.shape == (1, 256) and found.token_similarity.shape == (1, 1)


@pytest.mark.parametrize(("given", "said"), [
    ({"image": picture(2), "id_text": [MAN]}, "image 2, id_text 1"),
    ({"image": picture(2), "id_text": MAN, "cloth_text": [COAT] * 2},
     "image 2, id_text 1, cloth_text 2"),
    ({"id_text": [MAN] * 3, "cloth_text": [COAT]}, "id_text 3, cloth_text 1"),
    ({"image": picture(1), "id_text": [MAN], "cloth_text": [COAT], "negative_text": [MAN] * 2},
     "image 1, id_text 1, cloth_text 1, negative_text 2")])
def test_batch_sizes_that_do_not_fit_are_one_line(model, given, said):
    whole = f"one caption of each kind for every picture; got {said}$"
    with pytest.raises(ReidlabError, match=whole) as fault:
        model(**given)
    assert "\n" not in str(fault.value)


def test_negative_texts_need_the_pictures_and_both_own_captions(model):
    with pytest.raises(ReidlabError, match="negative_text needs image, id_text and cloth_text"):
        model(picture(), id_text=[MAN], negative_text=[MAN])


def test_no_caption_and_an_empty_one_are_not_the_same():
    model = build(preset("corrected"), 4).eval()
    assert model(picture(), id_text=None, cloth_text=COAT).id_text_embeds is None
    assert model(picture(), id_text="", cloth_text=COAT).id_text_embeds.shape == (1, 256)
