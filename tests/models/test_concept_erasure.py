"""What is erased, what is kept, and when."""
import pytest
import torch
import torch.nn.functional as F

from reidlab.evaluation.probes import probe
from reidlab.models.concept_erasure import ConceptEraser
from reidlab.tasks import build
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
