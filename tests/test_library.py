"""The front door: what a program needs of a trained run, by the names of the package."""
import numpy as np
import pytest
import torch

import reidlab
from reidlab.data.packing import to_tensor
from reidlab.errors import ReidlabError
from tests.conftest import mini


def test_the_example_of_the_package_runs(run, cache):
    model, data = reidlab.load(run), reidlab.load_data(run)
    found = reidlab.embed(model, data.test)
    np.testing.assert_allclose(np.linalg.norm(found.id_image, axis=1), 1, rtol=1e-5)
    assert len(found.id_image) == len(data.test.records)
    maps = reidlab.attention(model, data.test.images[:4])
    assert {"encoder", "identity", "cloth"} == set(maps) and maps["identity"].shape[0] == 4
    torch.testing.assert_close(maps["identity"].sum(-1), torch.ones(maps["identity"].shape[:-1]))
    assert reidlab.gate(model, data.test.images[:4]) is None
    assert set(dir(reidlab)) >= set(reidlab.__all__)


def test_features_under_a_gate_of_ones_own_are_the_share_that_it_says(data):
    model = reidlab.build(mini("attention"), 4).eval()
    image = to_tensor(data.test.images[:2])
    learned = reidlab.gate(model, data.test.images[:2])
    with torch.no_grad():
        plain, _ = model.image_features(image)
        whole, _ = model.image_features(image, gate=torch.tensor(1.0))
        half, _ = model.image_features(image, gate=torch.tensor(0.5))
    np.testing.assert_allclose(learned, plain.gate.numpy())
    torch.testing.assert_close(half.identity, whole.identity / 2)
    torch.testing.assert_close(plain.identity, whole.identity * plain.gate)
    assert not whole.cloth.any()
    with pytest.raises(ReidlabError, match="has no gate to set"):
        reidlab.build(mini("projection"), 4).image_features(image, gate=torch.tensor(0.5))


def test_what_does_not_fit_is_one_line(data):
    model, image = reidlab.build(mini("attention"), 4).eval(), to_tensor(data.test.images[:2])
    with pytest.raises(ReidlabError, match=r"a gate is a fraction in \[0, 1\]"):
        model.image_features(image, gate=1.7)
    other = reidlab.build(reidlab.preset("embednet_corrected"), 4)
    for ask in (lambda: reidlab.embed(other, data.test),
                lambda: reidlab.attention(other, data.test.images[:2]),
                lambda: reidlab.gate(other, data.test.images[:2])):
        with pytest.raises(ReidlabError, match="EmbedNet is a visible-infrared model"):
            ask()


def test_loading_leaves_the_global_generator_as_it_was(run):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    reidlab.load(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_data_of_an_experiment_are_those_of_its_run(run, data):
    again = reidlab.load_data(mini())
    assert again.test.records == reidlab.load_data(run).test.records == data.test.records
