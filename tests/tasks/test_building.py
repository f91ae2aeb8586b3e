"""Every design at every size, before any data are drawn; and what cannot be built."""
import shutil

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    ResNetConfig,
    ResNetModel,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from reidlab.encoders.tokens import train_tokenizer
from reidlab.engine.evaluate import evaluate
from reidlab.engine.search import search
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.presets import PRESETS, preset, sizes
from reidlab.runs.folder import RunFolder
from reidlab.tasks import build, refuse_unbuildable
from tests.conftest import MINI
from tests.encoders.making import make_clip
from tests.engine.conftest import train_and_stop

NARROW = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
          "intermediate_size": 64}

CLIP = {"image__dim": 32, "image__layers": 2, "image__heads": 4, "text__dim": 16,
        "text__layers": 2, "text__heads": 4}
SHAPE = {f"{part}__{name}": value for part in ("image", "text")
         for name, value in (("dim", 96), ("layers", 4), ("heads", 4))}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Small folders of the right kind, and of kinds that are wrong."""
    folder = tmp_path_factory.mktemp("weights")
    for name, model in {
            "vit224": ViTForImageClassification(ViTConfig(image_size=224, patch_size=16, **NARROW)),
            "vit384": ViTModel(ViTConfig(image_size=384, patch_size=16, **NARROW)),
            "resnet": ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[16, 32, 64, 128],
                                               depths=[1, 1, 1, 1], layer_type="basic")),
            "bert": BertForMaskedLM(BertConfig(vocab_size=200, **NARROW)),
            "roberta": RobertaModel(RobertaConfig(vocab_size=200, **NARROW))}.items():
        model.save_pretrained(folder / name)
    make_clip(folder / "clip")
    for name in ("bert", "roberta"):
        train_tokenizer(["a tall man"]).save_pretrained(folder / name)
    return folder


def at_size(name, size, weights):
    """A preset; at ``base`` from the small local folders."""
    if size == "clip":
        where = str(weights / "clip")
        embedding = {"heads__embedding": 24} if name == "baseline" else {}
        return preset(name, size, image__pretrained=where, text__pretrained=where, **CLIP,
                      **embedding)
    if size != "base":
        return preset(name, size)
    plain = preset(name, size)
    image = {"dual_vit": "vit384", "resnet": "resnet"}[plain.stages.backbone] if hasattr(
        plain, "stages") else "vit224"
    changes = {"image__pretrained": str(weights / image), "image__dim": 128}
    if image != "resnet":
        changes |= {name: value for name, value in SHAPE.items() if name.startswith("image")}
    if name == "baseline":
        changes |= {"heads__embedding": 96}
    if hasattr(plain, "text"):
        changes |= SHAPE | {"text__pretrained": str(weights / "bert")}
    return preset(name, size, **changes)


@pytest.mark.parametrize(("name", "size"), [(n, s) for n in PRESETS for s in sizes(n)])
def test_every_design_builds_at_every_size(name, size, weights):
    refuse_unbuildable(at_size(name, size, weights))


@pytest.mark.parametrize("name", ["attention", "corrected", "embednet_corrected"])
def test_the_look_ahead_leaves_the_random_state_alone(name):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    refuse_unbuildable(preset(name))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("changes", "says"), [
    ({"disentangle__heads": 5}, "cannot be built at these settings: embed_dim must be divisible"),
    ({"text__pretrained": None, "text__dim": 64}, "image width 128 and text width 64 must agree"),
    ({"image__pretrained": None, "image__dim": 16_384, "image__layers": 128,
      "text__pretrained": None, "text__dim": 16_384}, "GB for its weights"),
])
def test_settings_that_cannot_be_built_are_told_before_anything_is_drawn(
        changes, says, tmp_path, monkeypatch):
    monkeypatch.setattr("reidlab.tasks.text_image.load_text_image",
                        lambda *_: pytest.fail("data touched"))
    with pytest.raises(ReidlabError, match=says):
        train(preset("attention", **changes), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("part", "folder", "says"), [
    ("image", "roberta", "are of a 'roberta' model; this part is a 'vit'"),
    ("image", "bert", "are of a 'bert' model; this part is a 'vit'"),
    ("text", "roberta", "are of a 'roberta' model; this part is a 'bert'"),
])
def test_pretrained_weights_of_another_kind_are_refused(part, folder, says, weights):
    changes = SHAPE | {"image__pretrained": str(weights / "vit224"),
                       "text__pretrained": str(weights / "bert")}
    changes[f"{part}__pretrained"] = str(weights / folder)
    with pytest.raises(ReidlabError, match=says):
        refuse_unbuildable(preset("corrected", "base", **changes))


def test_pretrained_weights_that_lack_a_tensor_are_refused_with_their_count(weights, tmp_path):
    state = ViTModel.from_pretrained(weights / "vit224").state_dict()
    state.pop("layers.1.attention.k_proj.weight")
    ViTModel(ViTConfig(image_size=224, patch_size=16, **NARROW)).save_pretrained(
        tmp_path, state_dict=state)
    with pytest.raises(ReidlabError, match="lack 1 of the .* tensors of a ViTModel"):
        build(preset("corrected", "base", image__pretrained=str(tmp_path),
                     text__pretrained=str(weights / "bert"), **SHAPE), 2)


@pytest.mark.parametrize(("changes", "says"), [
    ({"image__layers": 8}, "shape than image.layers 8; set image.layers=4, or image.pretrained=no"),
    ({"image__stem": True}, "shape than image.stem True; set image.stem=False"),
    ({"text__heads": 8, "text__activation": "relu"},
     "shape than text.heads 8, text.activation relu; set text.heads=4 text.activation=gelu"),
])
def test_settings_that_pretrained_weights_would_override_are_refused(changes, says, weights):
    with pytest.raises(ReidlabError, match=says):
        refuse_unbuildable(preset("corrected", "base", **SHAPE | {
            "image__pretrained": str(weights / "vit224"),
            "text__pretrained": str(weights / "bert"), **changes}))


def test_a_residual_network_of_another_width_is_refused(weights):
    with pytest.raises(ReidlabError, match="shape than image.dim 2048; set image.dim=128"):
        build(preset("deen", "base", image__pretrained=str(weights / "resnet")), 2)


@pytest.mark.slow
@pytest.mark.covers("E1")
@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_published_weights_train_stop_resume_score_and_search_at_the_fields_picture_size(
        kind, weights, tmp_path, cache):
    """Square weights at 384 × 128, from folders that are gone when the run is scored again."""
    few = MINI | {"data.people": 12, "data.val_people": 12, "training.batch_size": 8,
                  "training.epochs": 2, "training.batches_per_epoch": 1}
    image, text, shape = tmp_path / "image", tmp_path / "text", SHAPE
    if kind == "vit":
        shutil.copytree(weights / "vit224", image)
        shutil.copytree(weights / "bert", text)
    else:
        make_clip(image)
        text = image
        shape = CLIP | {"text__pooling": "last"}
    experiment = preset("corrected", "base", **shape, image__height=384, image__width=128,
                        image__pretrained=str(image), text__pretrained=str(text),
                        **{name.replace(".", "__"): value for name, value in few.items()})
    run = RunFolder(tmp_path / "run")
    train_and_stop(experiment, run, step=0)
    report = train(experiment, run.path, quiet=True)
    assert [row["step"] for row in run.rows()] == [1, 2]
    assert 0 <= report["tables"]["test"]["same_clothes"]["text_to_image"]["r1"] <= 1
    shutil.rmtree(image)
    shutil.rmtree(text, ignore_errors=True)
    again = evaluate(run.path)
    assert again["tables"] == report["tables"]
    assert len(search(run.path, "a tall man in a red coat", k=3)) == 3
