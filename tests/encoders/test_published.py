"""CLIP, SigLIP and DINOv2 give what the library gives, on pictures of any size."""
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from reidlab.config import Image, Text
from reidlab.encoders.bert import TextEncoder
from reidlab.encoders.published import HALF, IMAGENET, OPENAI
from reidlab.encoders.tokens import published_tokenizer, read_tokenizer
from reidlab.encoders.vit import build_vit, parts_of, width_of
from reidlab.errors import ReidlabError
from reidlab.evaluation.attention_maps import encoder_maps
from reidlab.models.text_image import TextImageModel
from reidlab.presets import preset
from reidlab.tasks.task import make_ready
from tests.encoders.making import make_clip, make_dinov2, make_siglip

SIZES = [(64, 64), (96, 32)]
WORDS = ["a tall man, red hair.", "a woman"]


def image(folder, size, **changes):
    return Image(**{"pretrained": str(folder), "height": size[0], "width": size[1], "dim": 32,
                    "layers": 2, "heads": 4} | changes)


def pixels(size, mean_std):
    """Pictures in [-1, 1], and as the library wants them."""
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v)[:, None, None] for v in mean_std)
    return 2 * x - 1, (x - mean) / std


@pytest.mark.parametrize("size", SIZES)
def test_clips_first_token_and_last_word_are_the_librarys_features(size, tmp_path):
    theirs = make_clip(tmp_path)
    ours = build_vit(image(tmp_path, size)).eval()
    seen, wanted = pixels(size, OPENAI)
    tokens = ours(seen).last_hidden_state
    assert tokens.shape == (2, 1 + size[0] * size[1] // 256, 24) and width_of(ours) == 24
    expected = theirs.get_image_features(wanted, interpolate_pos_encoding=True).pooler_output
    torch.testing.assert_close(tokens[:, 0], expected, rtol=1e-4, atol=1e-5)
    encoder = TextEncoder(Text(pretrained=str(tmp_path), dim=16, layers=2, heads=4, dropout=0.0,
                               pooling="last", max_length=30)).eval()
    given = published_tokenizer(str(tmp_path))(WORDS, padding=True, return_tensors="pt")
    torch.testing.assert_close(encoder(WORDS), theirs.get_text_features(**given).pooler_output,
                               rtol=1e-4, atol=1e-5)
    alone = torch.cat([encoder(WORDS[:1]), encoder(WORDS[1:])])  # no padding at all
    torch.testing.assert_close(encoder(WORDS), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("registers", [0, 3])
def test_dinov2s_tokens_are_the_librarys_without_its_registers(size, registers, tmp_path):
    theirs = make_dinov2(tmp_path, registers)
    seen, wanted = pixels(size, IMAGENET)
    tokens = build_vit(image(tmp_path, size)).eval()(seen).last_hidden_state
    expected = theirs(wanted).last_hidden_state
    assert tokens.shape == (2, 1 + size[0] * size[1] // 256, 32)
    torch.testing.assert_close(tokens[:, 0], expected[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens[:, 1:], expected[:, 1 + registers:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_siglips_pooled_vector_stands_before_its_patches(size, tmp_path):
    theirs = make_siglip(tmp_path)
    seen, wanted = pixels(size, HALF)
    tokens = build_vit(image(tmp_path, size)).eval()(seen).last_hidden_state
    expected = theirs.vision_model(wanted, interpolate_pos_encoding=True)
    assert tokens.shape == (2, 1 + size[0] * size[1] // 256, 32)
    torch.testing.assert_close(tokens[:, 0], expected.pooler_output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens[:, 1:], expected.last_hidden_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [make_clip, make_siglip, make_dinov2])
def test_every_family_learns_in_every_layer_and_names_its_parts(make, tmp_path):
    make(tmp_path)
    encoder = build_vit(image(tmp_path, (96, 32)))
    assert encoder.training and len(parts_of(encoder)) == 3
    encoder(pixels((96, 32), HALF)[0]).last_hidden_state.square().sum().backward()
    learned = {p for part in parts_of(encoder) for p in part.parameters()
               if p.grad is not None and p.grad.any()}
    named = {p: n for part in parts_of(encoder) for n, p in part.named_parameters()}
    still = [name for p, name in named.items() if p not in learned]
    assert all(name.endswith(("k_proj.bias", "key.bias", "mask_token")) for name in still), still


@pytest.mark.parametrize("make, wrong, says", [
    (make_clip, {"dim": 24}, "image.dim 24; set image.dim=32"),
    (make_dinov2, {"patch": 8}, "image.patch 8; set image.patch=16"),
    (make_siglip, {"layers": 3, "heads": 2}, "set image.layers=2 image.heads=4")])
def test_a_shape_that_the_weights_do_not_have_is_told(make, wrong, says, tmp_path):
    make(tmp_path)
    with pytest.raises(ReidlabError, match=says):
        build_vit(image(tmp_path, (96, 32), **wrong))


@pytest.mark.parametrize("make, lost", [
    (make_clip, "visual_projection.weight"),
    (make_siglip, "vision_model.encoder.layers.0.mlp.fc1.weight"),
    (make_dinov2, "encoder.layer.1.attention")])
def test_weights_that_lack_a_tensor_are_refused_by_name(make, lost, tmp_path):
    make(tmp_path)
    held = load_file(tmp_path / "model.safetensors")
    gone = sorted(name for name in held if name.startswith(lost))
    assert gone
    for name in gone:
        del held[name]
    save_file(held, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ReidlabError, match=rf"lack {len(gone)} of the \d+ tensors of a .*, first "):
        build_vit(image(tmp_path, (96, 32)))


def model_of(folder, **changes):
    experiment = preset("corrected", "tiny", **{
        "image__pretrained": str(folder), "image__height": 96, "image__width": 32,
        "image__dim": 32, "image__layers": 2, "image__heads": 4, "image__activation": "gelu",
        "image__stem": False, **changes})
    return experiment, TextImageModel(experiment, classes=3)


def test_a_caption_encoder_of_another_width_is_projected_to_that_of_the_pictures(tmp_path):
    make_dinov2(tmp_path)
    _, model = model_of(tmp_path)  # the shipped BERT is 128 wide
    assert model.text_encoder.dim == 32 and model.text_encoder.project.weight.shape == (32, 128)
    out = model(pixels((96, 32), HALF)[0], id_text=WORDS, cloth_text=WORDS)
    F.cosine_embedding_loss(out.image_embeds, out.id_text_embeds, torch.ones(2)).backward()
    assert model.text_encoder.project.weight.grad.any()


def test_clips_towers_meet_without_a_new_layer_and_show_where_they_look(tmp_path):
    make_clip(tmp_path)
    experiment, model = model_of(tmp_path, text__pretrained=str(tmp_path), text__dim=16,
                                 text__layers=2, text__pooling="last", text__activation="gelu")
    assert model.text_encoder.project is None and model.text_encoder.dim == 24
    pictures = torch.randint(255, (2, 96, 32, 3), dtype=torch.uint8).numpy()
    maps = encoder_maps(model.eval(), pictures)
    assert maps.shape == (2, 2, 4, 13, 13)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 2, 4, 13))
    model.text_encoder.tokens.tokenizer.save_pretrained(tmp_path / "tokenizer")
    again = read_tokenizer(tmp_path / "tokenizer")
    assert again(WORDS)["input_ids"] == model.text_encoder.tokens.tokenizer(WORDS)["input_ids"]


def test_an_encoder_whose_maps_have_no_place_for_the_whole_is_told(tmp_path):
    make_siglip(tmp_path)
    _, model = model_of(tmp_path)
    with pytest.raises(ReidlabError, match="siglip_vision_model keeps no attention of a first"):
        encoder_maps(model, torch.zeros(1, 96, 32, 3, dtype=torch.uint8).numpy())


def test_before_its_first_step_the_baseline_is_clip_itself(tmp_path):
    theirs = make_clip(tmp_path)
    experiment = preset("baseline", "clip", image__pretrained=str(tmp_path), image__dim=32,
                        image__layers=2, image__heads=4, image__height=96, image__width=32,
                        text__pretrained=str(tmp_path), text__dim=16, text__layers=2, text__heads=4,
                        heads__embedding=24)
    model = TextImageModel(experiment, classes=3).eval()
    seen, wanted = pixels((96, 32), OPENAI)
    given = published_tokenizer(str(tmp_path))(WORDS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        for ours, features in (
                (model.encode_image(seen),
                 theirs.get_image_features(wanted, interpolate_pos_encoding=True)),
                (model.encode_text(WORDS), theirs.get_text_features(**given))):
            torch.testing.assert_close(ours, F.normalize(features.pooler_output, dim=-1),
                                       rtol=1e-4, atol=1e-5)
    added = [n for n, p in model.named_parameters() if not n.startswith(
        ("visual_encoder.", "text_encoder.bert."))]
    assert added == ["id_classifier.weight", "id_classifier.bias"]


def test_a_tokenizer_of_a_larger_vocabulary_than_the_weights_is_told(tmp_path):
    make_clip(tmp_path)
    more = published_tokenizer(str(tmp_path))
    more.add_tokens([f"word{k}" for k in range(5)])
    more.save_pretrained(tmp_path)
    with pytest.raises(ReidlabError, match="has 63 entries, its weights 58: fetch both"):
        TextEncoder(Text(pretrained=str(tmp_path), dim=16, layers=2, heads=4))


@pytest.mark.parametrize("make, first, last", [
    (make_clip, "vision_model.pre_layrnorm.weight", "visual_projection.weight"),
    (make_siglip, "embeddings.patch_embedding.weight", "head.probe"),
    (make_dinov2, "embeddings.cls_token", "layernorm.weight")])
def test_every_published_weight_is_in_a_part_and_learns_at_its_rate(make, first, last, tmp_path):
    make(tmp_path)
    encoder = build_vit(image(tmp_path, (96, 32)))
    parts, named = parts_of(encoder), dict(encoder.inner.named_parameters())
    held = [p for part in parts for p in part.parameters()]
    assert len(held) == len(set(held)) == len(named) and set(held) == set(named.values())
    assert named[first] in set(parts[0].parameters())
    assert named[last] in set(parts[-1].parameters())


def test_both_of_clips_towers_make_activations_again_where_that_is_asked_for(tmp_path):
    make_clip(tmp_path)
    experiment, model = model_of(tmp_path, text__pretrained=str(tmp_path), text__dim=16,
                                 text__layers=2, text__pooling="last", text__activation="gelu",
                                 training__gradient_checkpointing=True)
    calls = []
    for tower in (model.visual_encoder, model.text_encoder.bert):
        tower.transformer.encoder.layers[0].mlp.register_forward_pre_hook(
            lambda *given: calls.append(1))
    make_ready(model, [model.visual_encoder, model.text_encoder.bert], experiment.training, 1)
    out = model(pixels((96, 32), HALF)[0], id_text=WORDS, cloth_text=WORDS)
    forward = len(calls)
    (out.image_embeds * out.id_text_embeds).sum().backward()
    assert forward == 2 and len(calls) == 4
