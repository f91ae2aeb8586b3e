"""What is erased, what is kept, and when."""
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.probes import probe
from reidlab.models.concept_erasure import ConceptEraser
from reidlab.runs.folder import RunFolder
from reidlab.tasks import build
from reidlab.tasks.text_image import TextImageTraining
from tests.conftest import mini


@pytest.fixture
def mixed():
    """Vectors that hold identity in strong directions and clothing in weak ones."""
    generator = torch.Generator().manual_seed(0)
    who = torch.randint(4, (3000,), generator=generator)
    worn = torch.randint(4, (3000,), generator=generator)
    noise = torch.randn(3000, 32, generator=generator)
    place = torch.linalg.qr(torch.randn(32, 8, generator=generator))[0]
    x = (F.one_hot(who, 4).float() @ place[:, :4].T + 0.1 * F.one_hot(worn, 4) @ place[:, 4:].T
         + 0.02 * noise)
    captions = F.one_hot(worn, 4).float() + 0.3 * torch.randn(3000, 4, generator=generator)
    return F.normalize(x, dim=1), captions, who.numpy(), worn.numpy()


def above(x, labels):
    return probe(x[:2000], labels[:2000], x[2000:], labels[2000:], permutations=2)["above_chance"]


def test_clothing_becomes_unreadable_and_identity_stays(mixed):
    x, captions, who, worn = mixed
    erasure = ConceptEraser(32).eval()
    assert torch.allclose(erasure(x), x, atol=1e-6)  # silent until fitted
    assert above(x, worn) > 0.7 and above(x, who) > 0.7
    assert erasure.fit(x[:2000], captions[:2000]) == 3  # four kinds of clothing span three
    assert abs(above(erasure(x), worn)) < 0.08 and above(erasure(x), who) > 0.7
    assert torch.allclose(erasure(x).norm(dim=1), torch.ones(3000), atol=1e-5)


def test_unrelated_captions_erase_nothing(mixed):
    x, captions, _, _ = mixed
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(5))
    erasure = ConceptEraser(32).eval()
    assert erasure.fit(x, captions[order]) <= 1


def test_training_sees_vectors_as_they_are_and_reset_forgets(mixed):
    x, captions, _, _ = mixed
    erasure = ConceptEraser(32)
    erasure.fit(x, captions)
    assert torch.equal(erasure.train()(x), x)
    assert not torch.allclose(erasure.eval()(x), x, atol=1e-3)
    erasure.reset()
    assert torch.allclose(erasure(x), x, atol=1e-6)


def test_only_designs_that_ask_for_it_erase():
    assert not isinstance(build(mini("attention"), 4).concept_eraser, ConceptEraser)
    model = build(mini("corrected"))
    assert isinstance(model.concept_eraser, ConceptEraser)
    assert not list(model.concept_eraser.parameters())  # nothing that could be trained around


CAPTIONS = F.normalize(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("captions", [
    torch.zeros(500, 16), torch.ones(500, 16), torch.full((500, 16), 0.1), CAPTIONS.repeat(500, 1),
    CAPTIONS + 3e-8 * torch.randn(500, 16, generator=torch.Generator().manual_seed(4)),  # rounding
], ids=["zero", "one", "tenth", "one caption", "one caption, rounded"])
def test_captions_that_are_all_alike_erase_nothing(mixed, captions):
    x, told, _, _ = mixed
    erasure = ConceptEraser(32).eval()
    erasure.fit(x, told)  # what an earlier epoch found is forgotten
    assert erasure.fit(x[:500], captions) == 0
    assert torch.allclose(erasure(x), x, atol=1e-6)


def test_vectors_that_are_all_alike_erase_nothing(mixed):
    x, told, _, _ = mixed
    erasure = ConceptEraser(32).eval()
    assert erasure.fit(x[:1].repeat(500, 1), told[:500]) == 0
    assert torch.allclose(erasure(x), x, atol=1e-6)


@pytest.fixture
def wardrobe():
    """40 people in three outfits each, four looks an outfit; a person's place and the clothes'
    place overlap."""
    generator = torch.Generator().manual_seed(0)
    people = torch.arange(40).repeat_interleave(12)
    outfits = torch.arange(120).repeat_interleave(4)
    style = torch.randint(5, (120,), generator=generator)
    faces = torch.randn(40, 6, generator=generator)
    looks = torch.randn(5, 6, generator=generator)
    basis = torch.linalg.qr(torch.randn(24, 12, generator=generator))[0]
    x = (faces[people] @ basis[:, :6].T
         + 2 * looks[style][outfits] @ (basis[:, 6:] + 0.5 * basis[:, :6]).T
         + 0.1 * torch.randn(480, 24, generator=generator))
    return F.normalize(x, dim=1), people, outfits, style[outfits].numpy()


def test_the_sparing_form_keeps_people_and_loses_clothes(wardrobe):
    x, people, outfits, style = wardrobe
    erasure = ConceptEraser(24).eval()
    assert erasure.fit_sparing(x, people, outfits, kept=6) == 18
    left = erasure(x)
    half = torch.arange(480) % 2 == 0
    read = lambda v, labels: probe(v[half], labels[half], v[~half], labels[~half],  # noqa: E731
                                   permutations=2)["above_chance"]
    assert read(x, style) > 0.6 and read(left, style) < 0.3
    across = lambda v: (v @ v.T - 2 * (outfits[:, None] == outfits)).argmax(1)  # noqa: E731
    found = [(people[across(v)] == people).float().mean().item() for v in (x, left)]
    assert found[0] < 0.6 and found[1] > 0.9
    assert torch.allclose(erasure.projection @ erasure.projection, erasure.projection, atol=1e-4)


def test_the_sparing_form_is_the_generalised_eigenproblem(wardrobe):
    from scipy.linalg import eigh
    x, people, outfits, _ = wardrobe
    erasure = ConceptEraser(24).eval()
    erasure.fit_sparing(x, people, outfits, kept=4)
    x = x.double().numpy()
    looks = [x[outfits == o].mean(0) for o in range(120)]
    means = [sum(looks[3 * p:3 * p + 3]) / 3 for p in range(40)]
    overall = sum(means) / 40
    between = sum((m - overall)[:, None] * (m - overall) for m in means) / 40
    clothes = sum((looks[o] - means[o // 3])[:, None] * (looks[o] - means[o // 3])
                  for o in range(120)) / 120
    ridge = 1e-3 * clothes.trace() / 24
    for k in range(24):
        clothes[k, k] += ridge
    v = eigh(between, clothes)[1][:, -4:]
    total = (x - x.mean(0)).T @ (x - x.mean(0)) / 480
    m = total @ v @ torch.linalg.inv(torch.from_numpy(v.T @ total @ v)).numpy() @ v.T
    torch.testing.assert_close(erasure.projection.double(), torch.from_numpy(m), rtol=1e-3,
                               atol=1e-5)


def test_the_sparing_form_erases_nothing_where_nobody_changes_clothes(wardrobe):
    x, people, _, _ = wardrobe
    erasure = ConceptEraser(24).eval()
    assert erasure.fit_sparing(x, people, people, kept=6) == 0
    assert torch.allclose(erasure(x), x, atol=1e-6)
    assert erasure.fit_sparing(torch.ones(480, 24), people, people % 7, kept=6) == 0


@pytest.mark.slow
def test_a_run_can_erase_by_outfits(tmp_path, cache):
    from reidlab.engine.train import train
    from tests.engine.conftest import rows
    train(mini(heads__erasure="outfits", heads__erasure_kept=10), tmp_path / "run", quiet=True)
    assert rows(tmp_path / "run")[-1]["concept_erasure/directions"] == 246


@pytest.mark.parametrize("form", ["captions", "outfits"])
def test_a_run_fits_the_erasure_of_its_training_pictures(tmp_path, cache, form):
    training = TextImageTraining(mini(heads__erasure=form, heads__erasure_kept=10),
                                 RunFolder(tmp_path / "run"), Accelerator(cpu=True))
    model = training.model
    training.fit_concept_eraser(model)
    fitted = model.concept_eraser.projection.clone()
    model.concept_eraser.reset()
    found, by_hand = embed(model, training.data.train), ConceptEraser(fitted.shape[0])
    identity = torch.from_numpy(found.id_image)
    if form == "outfits":
        by_hand.fit_sparing(identity, torch.from_numpy(found.pids),
                            torch.from_numpy(found.outfits), 10)
    else:
        by_hand.fit(identity, torch.from_numpy(found.cloth_text[found.caption == 0]))
    assert not torch.allclose(fitted, torch.eye(len(fitted)), atol=1e-2)
    assert torch.allclose(fitted, by_hand.projection, rtol=1e-3, atol=1e-4)
