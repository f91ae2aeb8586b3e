"""The model as a whole: one way in, the notes' outputs, gradients where they belong."""
import dataclasses
import itertools

import pytest
import torch
from torch import nn

from reidlab.batches.text_image import Batches
from reidlab.config.changes import change
from reidlab.disentangle import DISENTANGLERS
from reidlab.disentangle.attention import AttentionDisentangler
from reidlab.disentangle.mixers import ConvMixer, WindowMixer
from reidlab.encoders.efficient_attention import LinformerAttention, PerformerAttention
from reidlab.encoders.pooling import AttentionPool, FirstToken, LastToken, MaskedMax, MaskedMean
from reidlab.fusion import FUSIONS, TOKEN_FUSIONS
from reidlab.losses.text_image import TextImageLoss
from reidlab.models.heads import HEADS
from reidlab.models.text_image import TextImageModel
from reidlab.models.text_image_output import TextImageOutput
from reidlab.presets import preset
from reidlab.presets.text_image import DESIGNS
from reidlab.tasks import build
from tests.conftest import MATCHING, mini

IDS = ["A tall man with red hair.", "A woman with glasses."]
CLOTHES = ["Wearing a red coat and jeans.", "Dressed in a white shirt."]
SCRATCH = {"image__pretrained": None, "text__pretrained": None}
NOTE_003 = {  # the note's walk-through of a batch of two: 768 wide, 8000 identities
    "image_embeds": (2, 256), "id_text_embeds": (2, 256), "fused_embeds": (2, 256),
    "id_logits": (2, 8000), "id_embeds": (2, 768), "cloth_embeds": (2, 768),
    "cloth_text_embeds": (2, 256), "cloth_image_embeds": (2, 256), "gate": (2, 768),
    "gate_weights": (2, 2)}


@pytest.fixture(scope="module", params=sorted(DESIGNS))
def model(request):
    return build(preset(request.param), classes=10).eval()


def picture(b=2):
    torch.manual_seed(3)
    return torch.randn(b, 3, 96, 48)


@pytest.mark.slow
@pytest.mark.covers("R13", "R14", "E1", "D10")
def test_every_shape_of_note_003():
    experiment = preset("attention", "tiny", image__height=224, image__width=224, image__dim=768,
                        image__heads=12, image__layers=1, image__stem=False, text__dim=768,
                        text__heads=12, text__layers=1, **SCRATCH)
    model = build(experiment)
    out = model(torch.randn(2, 3, 224, 224), cloth_text=CLOTHES, id_text=IDS, want_maps=True)
    assert {k: tuple(getattr(out, k).shape) for k in NOTE_003} == NOTE_003
    assert out.tokens.shape == (2, 197, 768)
    ids, mask = model.text_encoder.tokens(IDS, length=64)
    assert ids.shape == mask.shape == (2, 64)
    states, _ = model.text_encoder.states(IDS, length=64)
    assert states.shape == (2, 64, 768) and model.text_encoder(IDS).shape == (2, 768)
    assert model.fusion.fc.in_features == 512
    assert [tuple(t.shape) for t in out.as_tuple(10)] == list(NOTE_003.values())


WALK = {  # notes 000 and 001 at 768: eight outputs
    "image_embeds": (2, 256), "id_text_embeds": (2, 256), "fused_embeds": (2, 256),
    "id_logits": (2, 8000), "id_embeds": (2, 768), "cloth_embeds": (2, 768),
    "cloth_text_embeds": (2, 256), "cloth_image_embeds": (2, 256)}


@pytest.mark.slow
@pytest.mark.covers("R14", "D2", "D5", "D6", "E5")
@pytest.mark.parametrize("name, id_width", [("projection", 768), ("merged", 256),
                                            ("residual", 768)])
def test_every_shape_of_notes_000_and_001(name, id_width):
    model = build(preset(name, "tiny", image__height=224, image__width=224, image__dim=768,
                         image__heads=12, image__layers=1, image__stem=False, text__dim=768,
                         text__heads=12, text__layers=1, **SCRATCH))
    out = model(torch.randn(2, 3, 224, 224), cloth_text=CLOTHES, id_text=IDS)
    shapes = WALK | {"id_embeds": (2, id_width)}
    assert [tuple(t.shape) for t in out.as_tuple(8)] == list(shapes.values())
    assert out.gate is None and model.id_classifier.in_features == id_width
    ids, _ = model.text_encoder.tokens(IDS, length=100)
    assert ids.shape == (2, 100) == (2, model.text_encoder.config.max_length)


@pytest.mark.covers("R14")
def test_tuples_in_the_notes_order(model):
    out = model(picture(), cloth_text=CLOTHES, id_text=IDS)
    for count in (8, 10):  # by object: a swap of two of one shape would be seen
        named = zip(out.as_tuple(count), list(NOTE_003)[:count], strict=True)
        assert all(given is getattr(out, name) for given, name in named)
    with pytest.raises(ValueError, match="8 or 10"):
        out.as_tuple(9)


@pytest.mark.covers("E4", "E5")
def test_encode_is_what_forward_calls(model):
    out = model(picture(), cloth_text=CLOTHES, id_text=IDS)
    assert torch.allclose(model.encode_image(picture()), out.image_embeds, atol=1e-6)
    assert torch.allclose(model.encode_cloth_image(picture()), out.cloth_image_embeds, atol=1e-6)
    assert torch.allclose(model.encode_text(IDS), out.id_text_embeds, atol=1e-5)
    assert torch.allclose(model.encode_cloth_text(tuple(CLOTHES)), out.cloth_text_embeds,
                          atol=1e-5)
    assert torch.allclose(model.encode_image(picture()[..., None]), out.image_embeds, atol=1e-6)
    assert model.encode_image(None) is None and model.encode_text(None) is None


@pytest.mark.covers("E6", "E5")
def test_a_single_string_gives_one_vector(model):
    one = model.encode_text(IDS[0])
    assert one.shape == (256,)
    assert torch.allclose(one, model.encode_text(IDS)[0], atol=1e-5)


@pytest.mark.covers("E12", "E4", "E5")
def test_norms(model):
    out = model(picture(), cloth_text=CLOTHES, id_text=IDS)
    for name in ("image_embeds", "id_text_embeds", "cloth_text_embeds", "cloth_image_embeds"):
        assert torch.allclose(getattr(out, name).norm(dim=1), torch.ones(2), atol=1e-5), name
    assert not torch.allclose(out.id_embeds.norm(dim=1), torch.ones(2), atol=1e-2)
    if model.scale is not None:
        with torch.no_grad():
            model.scale.fill_(-2.5)
        fused = model(picture(), cloth_text=CLOTHES, id_text=IDS).fused_embeds
        assert torch.allclose(fused.norm(dim=1), torch.full((2,), 2.5), atol=1e-5)
        with torch.no_grad():
            model.scale.fill_(1.0)


@pytest.mark.covers("E16")
@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=3)))
def test_missing_inputs_give_none_in_the_right_places(model, given):
    image, cloth, identity = given
    out = model(picture() if image else None, cloth_text=CLOTHES if cloth else None,
                id_text=IDS if identity else None)
    needs = {"image_embeds": image, "id_text_embeds": identity, "id_embeds": image,
             "cloth_embeds": image, "cloth_text_embeds": cloth, "cloth_image_embeds": image,
             "fused_embeds": image and identity and model.fusion is not None,
             "gate_weights": image and identity and model.fusion is not None,
             "id_logits": image and model.id_classifier is not None,
             "gate": image and isinstance(model.disentangle, AttentionDisentangler)}
    for name, there in needs.items():
        assert (getattr(out, name) is not None) == there, name


@pytest.mark.covers("E10")
def test_heads_share_their_first_layer_and_keep_the_notes_order():
    written = build(preset("attention"), classes=4)
    assert written.cloth_heads is written.id_heads
    heads = written.id_heads
    assert (heads.shared_mlp.out_features, heads.image_mlp[3].out_features) == (512, 256)
    for mlp in (heads.image_mlp, heads.text_mlp):
        kinds = [type(layer).__name__ for layer in mlp]
        assert kinds == ["BatchNorm1d", "ReLU", "Dropout", "Linear"] * 2
    assert heads.image_mlp[2].p == 0.2 and written.feat_dim == 256


def test_corrected_gives_each_stream_heads_and_batch_statistics_of_its_own():
    apart = build(preset("corrected"))
    assert apart.cloth_heads is not apart.id_heads
    apart.train()
    apart(picture(4), cloth_text=CLOTHES * 2, id_text=IDS * 2)
    means = [h.image_head[1].running_mean for h in (apart.id_heads, apart.cloth_heads)]
    assert not torch.allclose(*means)
    with pytest.raises(ValueError, match="heads.name is 'deep'; known: joint, merged, linear"):
        build(preset("corrected", heads__name="deep"))


@pytest.mark.covers("E11")
def test_defaults_are_documented_and_unknown_fields_refused():
    assert build(preset("attention")).id_classifier.out_features == 8000
    with pytest.raises(ValueError, match="unknown field 'image.witdh'; near matches: image.width"):
        preset("attention", image__witdh=32)


def gradients(name, data, steps=2, **changes):
    """Parameters without any gradient after some steps, by top-level name."""
    experiment = mini(name, **changes)
    model = build(experiment, data.classes)
    loss = TextImageLoss(experiment.loss, 128, 256, model.identity_width, data.classes,
                     len(model.text_encoder.tokens.tokenizer))
    batches, seen = Batches(data.train, experiment), set()
    everything = {**{f"model.{n}": p for n, p in model.named_parameters()},
                  **{f"loss.{n}": p for n, p in loss.named_parameters()}}
    step = torch.optim.SGD(everything.values(), lr=1e-3)
    for k in range(steps):
        batch = batches(k, hard_negatives=True)
        out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text,
                    negative_text=batch.negative_text)
        words = {s: model.text_encoder.tokens.bag(getattr(batch, f"{s}_text"))
                 for s in ("id", "cloth")}
        terms = loss(out, batch, 1 + k, (k + 1) / steps, words)
        step.zero_grad()
        terms["total"].backward()
        seen |= {n for n, p in everything.items() if p.grad is not None and p.grad.any()}
        step.step()
    return set(everything) - seen, everything


@pytest.mark.parametrize("changes", [{}, MATCHING, MATCHING | {"fusion__name": "mamba_tokens"}])
def test_every_parameter_of_corrected_gets_a_gradient(data, changes):
    dead, everything = gradients("corrected", data, **changes)
    dead = {n for n in dead if not n.endswith(("A_log", "in_proj_bias"))}
    assert dead == set()
    assert all(p.requires_grad for p in everything.values())


WRITTEN = [name for name in DESIGNS if name != "corrected"]


@pytest.mark.covers("E13")
@pytest.mark.parametrize("name", WRITTEN)
def test_what_stays_dead_in_the_designs_as_written_and_why(data, name):
    dead, everything = gradients(name, data)
    reasons = {
        "model.fusion.": "no loss reads fused_embeds",
        "model.scale": "no loss reads fused_embeds",
        "loss.id_embed_projector.": "it lives in the loss, which the optimizer never sees",
        "loss.cloth_embed_projector.": "it lives in the loss, which the optimizer never sees",
    }
    if not preset(name).text.trainable:
        reasons["model.text_encoder.bert."] = "note 003 runs BERT without gradient"
    unexplained = {n for n in dead if not n.startswith(tuple(reasons))}
    key_biases = {n for n in unexplained if n.endswith("k_proj.bias")}  # softmax ignores them
    assert unexplained == key_biases
    for start in reasons:
        assert {n for n in everything if n.startswith(start)} <= dead, start


@pytest.mark.covers("E13")
def test_scale_gets_a_gradient_when_a_loss_uses_the_raw_fused_vector(data):
    model = build(mini("attention"), data.classes)
    out = model(picture(4), id_text=IDS * 2)
    (out.fused_embeds @ torch.randn(256)).sum().backward()
    assert model.scale.grad.abs() > 0


def test_output_is_one_dataclass_in_training_and_evaluation(model):
    model.train()
    training = model(picture(), cloth_text=CLOTHES, id_text=IDS)
    model.eval()
    evaluation = model(picture(), cloth_text=CLOTHES, id_text=IDS)
    assert isinstance(training, TextImageOutput) and isinstance(evaluation, TextImageOutput)
    filled = [[v is None for v in out.as_tuple(10)] for out in (training, evaluation)]
    assert filled[0] == filled[1]


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="image width 128 and text width 64 must agree"):
        build(preset("corrected", text__pretrained=None, text__dim=64))


def test_the_seed_fixes_every_weight():
    one, two, other = (build(preset("corrected", seed=s), 5).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)
    assert isinstance(build(preset("corrected")), TextImageModel)


@pytest.mark.covers("D5")
def test_merged_retrieves_with_the_feature_it_classifies():
    model = build(preset("merged"), classes=6).eval()
    out = model(picture(4), id_text=IDS * 2, cloth_text=CLOTHES * 2)
    assert out.id_embeds.shape == (4, 256) and (out.id_embeds >= 0).all()
    assert torch.allclose(out.image_embeds, torch.nn.functional.normalize(out.id_embeds, dim=1))
    assert torch.allclose(out.id_logits, model.id_classifier(out.id_embeds))
    assert out.fused_embeds.shape == (4, 256)
    model.train()
    one = model(picture(2), id_text=IDS, cloth_text=CLOTHES).id_embeds  # BatchNorm needs two
    assert one.shape == (2, 256)


@pytest.mark.covers("D3", "R10")
def test_reversal_is_set_on_every_design_that_has_one():
    for name in DESIGNS:
        model = build(preset(name), classes=4)
        split = preset(name).disentangle
        projected = split.name in ("projection", "merged", "residual")
        assert model.set_reversal(0.12) == (projected and split.reversal)
    model = build(preset("projection"), classes=4)
    model.set_reversal(0.12)
    assert model.disentangle.cloth.alpha == 0.12


PARTS = {  # field → registered name → the class that stands in the model then, and where it stands
    "disentangle.name": (DISENTANGLERS, lambda model: model.disentangle),
    "heads.name": (HEADS, lambda model: model.cloth_heads),
    "fusion.name": (FUSIONS, lambda model: model.fusion),
    "text.pooling": ({"cls": FirstToken, "masked_mean": MaskedMean, "max": MaskedMax,
                      "attention": AttentionPool, "last": LastToken},
                     lambda model: model.text_encoder.pool),
    "disentangle.mixer": ({"attention": nn.MultiheadAttention, "conv": ConvMixer,
                           "window": WindowMixer, "performer": PerformerAttention,
                           "linformer": LinformerAttention},
                          lambda model: model.disentangle.identity.layers[0])}
GATELESS = {"loss.weights.gate_regularization": 0.0}
MERGED = GATELESS | {"disentangle.name": "merged", "heads.name": "merged"}
BESIDE = {("disentangle.name", "merged"): MERGED, ("heads.name", "merged"): MERGED,
          ("disentangle.name", "none"): GATELESS | {"loss.weights.decouple": 0.0},
          ("heads.name", "none"): {"heads.embedding": 128},  # as wide as the encoder
          **{("disentangle.name", name): GATELESS
             for name in ("queries", "projection", "residual")}}
NAMES = [(field, name) for field, (known, _) in PARTS.items() for name in known]


@pytest.mark.covers("E17")
@pytest.mark.parametrize(("field", "name"), NAMES)
def test_any_part_is_swapped_by_config_alone(field, name):
    """Each registered name puts its own class into the model, which then computes another thing."""
    known, part = PARTS[field]
    made = {}
    for chosen in {name, next(other for other in known if other != name)}:
        changes = {field: chosen} | BESIDE.get((field, chosen), {})
        torch.manual_seed(0)
        model = build(change(preset("attention"), changes), classes=4).eval()
        assert type(part(model)) is known[chosen]
        out = model(picture(), id_text=IDS, cloth_text=CLOTHES)
        made[chosen] = torch.cat([value.flatten() for value in (
            out.image_embeds, out.id_text_embeds, out.fused_embeds) if value is not None])
    one, other = made.values()
    assert one.shape != other.shape or not torch.allclose(one, other, atol=1e-4)


@pytest.mark.covers("E17")
@pytest.mark.parametrize("name", TOKEN_FUSIONS)
def test_a_fusion_of_tokens_takes_the_place_of_one_of_vectors(name):
    """It judges pairs, and no vector is fused."""
    changes = {"fusion.name": name, "loss.weights.itm": 1.0}
    model = build(change(preset("corrected"), changes), classes=4)
    assert type(model.itm_head.fusion) is TOKEN_FUSIONS[name] and model.fusion is None


@pytest.mark.covers("F15")
@pytest.mark.parametrize(("fine_grained", "texts"), [(0.0, 1), (1.0, 2)])
def test_one_pass_of_each_encoder_a_batch(data, fine_grained, texts):
    """Words against patches read whole descriptions, and encode these once more."""
    experiment = mini("corrected", loss__weights__fine_grained=fine_grained)
    model, batch = build(experiment, data.classes), Batches(data.train, experiment)(0)
    passes = {"image": 0, "text": 0}
    for key, module in (("image", model.visual_encoder), ("text", model.text_encoder.bert)):
        module.register_forward_hook(
            lambda *_, key=key: passes.__setitem__(key, passes[key] + 1))
    out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text)
    words = {s: model.text_encoder.tokens.bag(getattr(batch, f"{s}_text")) for s in ("id", "cloth")}
    weights = dataclasses.replace(experiment.loss.weights, bio=1.0, cloth=1.0, itm=0.0)
    TextImageLoss(dataclasses.replace(experiment.loss, weights=weights), 128, 256)(
        out, batch, 1, 1.0, words)
    assert passes == {"image": 1, "text": texts}
