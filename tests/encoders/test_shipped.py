"""The encoders that the package ships: which they are, and that every design can start there."""
import pytest
import torch
from safetensors.torch import load_file

from reidlab.batches.pretraining import WORLD
from reidlab.encoders.pretrained import SHIPPED, digest, located
from reidlab.presets import preset
from reidlab.synthetic.world import World
from reidlab.tasks import build


def test_they_are_small_and_in_half_precision():
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 8_000_000
    for name in ("vit", "bert", "resnet"):
        tensors = load_file(SHIPPED / name / "model.safetensors").values()
        assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float16}
        assert digest(f"reidlab:{name}") == digest(located(f"reidlab:{name}"))


def test_the_card_has_the_command_the_data_and_the_limits():
    text = (SHIPPED / "README.md").read_text()
    for said in ("reidlab pretrain --out DIR --steps", f"world {WORLD}", "no identity labels",
                 "must not be used to look for any", "| outfit/upper_colour |",
                 "| person/hair_colour |", "| time |", "# `vit` and `bert`", "# `resnet`"):
        assert said in text, said


@pytest.mark.parametrize("design", ["projection", "merged", "residual", "attention",
                                    "deep_attention", "corrected"])
def test_every_text_image_design_starts_from_them(design):
    model = build(preset(design, "tiny"), 4)
    image, text = (load_file(SHIPPED / name / "model.safetensors") for name in ("vit", "bert"))
    state = model.visual_encoder.state_dict()
    for key, value in image.items():
        assert torch.equal(state[key], value.float()), key
    state = model.text_encoder.bert.state_dict()
    for key, value in text.items():
        assert torch.equal(state[key], value.float()), key


@pytest.mark.parametrize("design", ["embednet", "embednet_tmhee", "embednet_cmatm",
                                    "embednet_ssdec", "embednet_corrected"])
def test_every_design_on_the_dual_vit_starts_from_the_picture_encoder(design):
    model = build(preset(design, "tiny"), 4)
    held = load_file(SHIPPED / "vit" / "model.safetensors")
    kernel = "embeddings.patch_embeddings.projection.0.weight"
    for patches in model.backbone.patches:
        assert torch.equal(patches[0].weight, held[kernel].float())


def test_the_reference_starts_from_its_own_network():
    model = build(preset("deen", "tiny"), 4)
    held = load_file(SHIPPED / "resnet" / "model.safetensors")
    for stem in model.stems:
        found = stem.state_dict()
        assert found and all(
            torch.equal(value, held[f"embedder.{key}"].float()) for key, value in found.items()
            if value.is_floating_point())


def test_captions_longer_than_the_positions_are_cut_and_that_is_said(caplog):
    with caplog.at_level("INFO"):
        model = build(preset("projection", "tiny"), 4).eval()
    assert "captions are cut behind 64 tokens, all that reidlab:bert has pos" in caplog.text
    long = " ".join(["red"] * 200)
    assert model.text_encoder([long]).isfinite().all()
    assert model.text_encoder.tokens([long])[0].shape == (1, 64)
    words = build(preset("corrected", "tiny", text__max_length=100,
                         loss__weights__fine_grained=1.0), 4).eval()  # words against patches
    out = words(torch.zeros(2, 3, 96, 48), cloth_text=[long] * 2, id_text=[long] * 2)
    assert out.token_similarity.isfinite().all()


def test_captions_of_any_world_are_words_to_the_tokenizer():
    model = build(preset("attention", "tiny"), 4)
    tokens = model.text_encoder.tokens
    unknown = tokens.tokenizer.unk_token_id
    for seed in (0, 1):
        world = World(seed)
        for k in range(200):
            said = world.describe(k, k, 0)
            ids = tokens.ids(f"{said.id_caption} {said.cloth_caption}")
            words = tokens.tokenizer.convert_ids_to_tokens(ids)
            assert unknown not in ids and not [w for w in words if w.startswith("##")]
