"""The text-image designs: one function a design, one a size; calling one shows every choice."""
from dataclasses import replace

from reidlab.config import Disentangle, Fusion, Heads, Image, Text, TextImageExperiment, Training
from reidlab.config.text_image import Data, Loss, Weights


def projection() -> TextImageExperiment:
    """Note 001 as written: one Linear a factor on [CLS], gradient reversal before clothing.

    Run: ``python -m reidlab train projection --run runs/projection``. Score: docs/results.md.
    """
    return TextImageExperiment(
        name="projection", size="base",
        data=Data(mismatched_fraction=0.5, images_per_person=1, pairs="listed"),
        text=Text(trainable=True, max_length=100, pooling="cls"),
        disentangle=Disentangle(name="projection", pooling="cls"),
        fusion=Fusion(name="attention_gated"),
        loss=Loss(
            weights=Weights(info_nce=1.0, cls=0.5, bio=0.1, cloth=0.5, cloth_adv=0.5,
                                cloth_match=0.5, decouple=0.3, gate_regularization=0.0),
            cloth_adv="negative_info_nce", decouple="abs_cosine"),
    )


def merged() -> TextImageExperiment:
    """Note 000 §1 as written: identity is reduced and classified in one network.

    Run: ``python -m reidlab train merged --run runs/merged``. Score: docs/results.md.
    """
    written = projection()
    return replace(written, name="merged",
                   disentangle=replace(written.disentangle, name="merged"),
                   heads=Heads(name="merged"), loss=replace(written.loss, decouple="gram"))


def residual() -> TextImageExperiment:
    """Note 000 §2 as written: identity through residual blocks.

    Run: ``python -m reidlab train residual --run runs/residual``. Score: docs/results.md.
    """
    written = projection()
    return replace(written, name="residual",
                   disentangle=replace(written.disentangle, name="residual"),
                   loss=replace(written.loss, decouple="gram"))


def attention() -> TextImageExperiment:
    """Note 003 as written: attention branches, one gate, Mamba fusion of two pooled vectors.

    Run: ``python -m reidlab train attention --run runs/attention``. Score: docs/results.md.
    """
    return TextImageExperiment(
        name="attention", size="base",
        data=Data(mismatched_fraction=0.5, images_per_person=1, pairs="listed"),
        text=Text(trainable=False, attention=True, pooling="masked_mean"),
        disentangle=Disentangle(name="attention", residual_from="input"),
        fusion=Fusion(name="mamba"),
        loss=Loss(),
    )


def deep_attention() -> TextImageExperiment:
    """Note 002 as written: six self- and three cross-attention layers a branch.

    Text side and fusion are note 003's.

    Run: ``python -m reidlab train deep_attention --run runs/deep``. Score: docs/results.md.
    """
    shallow = attention()
    return replace(shallow, name="deep_attention", disentangle=Disentangle(
        name="attention", self_layers=6, cross_layers=3, residual_from="running"))


def corrected() -> TextImageExperiment:
    """What the notes want: one query a factor, clothes projected out of identity.

    No gate and no cross-attention, since both mix what they should part; all pairs of one person
    or of one outfit are positives; what differs between one person's outfits is projected out of
    identity. The penalties on dependence are off: they do not part the two (docs/results.md).
    ``loss.weights.decouple=1`` brings back unbiased CKA.

    Run: ``python -m reidlab train corrected --run runs/corrected``. Score: docs/results.md.
    """
    return TextImageExperiment(
        name="corrected", size="base",
        data=Data(mismatched_fraction=0.0, images_per_person=4),
        text=Text(trainable=True, pooling="masked_mean"),
        disentangle=Disentangle(name="queries"),
        heads=Heads(name="linear", separate=True, concept_erasure=True, erasure="outfits",
                    erasure_kept=16),
        fusion=Fusion(name="attention_tokens", layers=1),
        loss=Loss(
            weights=Weights(info_nce=2.0, cls=1.0, bio=0.0, cloth=0.0, cloth_adv=0.0,
                            cloth_match=1.0, decouple=0.0, gate_regularization=0.0,
                            summed_score=1.0, id_image=1.0, itm=1.0),
            temperature=0.07, learned_temperature=True, positives="same",
            projectors="trained", cloth_match="masked", decouple="cka_linear",
            decouple_on="embedding", decouple_from=0.4, decouple_ramp=0.2, itm_start=0.6,
            itm_every=4),
        training=Training(optimizer="adamw", weight_decay=0.05, warmup=100, max_grad_norm=1.0),
    )


def baseline() -> TextImageExperiment:
    """No split at all: both towers meet as they are, by whole captions (IRRA without its decoder).

    What the field starts from, and what every split has to be measured against. At size ``clip``
    the towers are CLIP's, and before the first step this is CLIP itself.

    Run: ``python -m reidlab train baseline --size clip --run runs/baseline``. Source: IRRA,
    arXiv:2303.12501: similarity distribution matching, identities, and InfoNCE.
    """
    return TextImageExperiment(
        name="baseline", size="base",
        data=Data(captions="whole", images_per_person=1),
        text=Text(trainable=True, pooling="cls"),
        disentangle=Disentangle(name="none", pooling="cls"),
        heads=Heads(name="none", embedding=768),
        fusion=Fusion(name="none"),
        loss=Loss(weights=Weights(info_nce=1.0, sdm=1.0, cls=1.0, bio=0.0, cloth=0.0, cloth_adv=0.0,
                                  cloth_match=0.0, decouple=0.0, gate_regularization=0.0),
                  temperature=0.02, positives="same"),
        training=Training(optimizer="adamw", weight_decay=0.05, warmup=100, max_grad_norm=1.0),
    )


def clothes_changing() -> TextImageExperiment:
    """People in several outfits and no captions: labels of persons and of outfits alone.

    `corrected` without the terms that read words: pictures of one person are pulled together by
    identity, pictures of one outfit by clothing, and what differs between a person's outfits is
    projected out of identity. For PRCC, LTCC and folders of your own.

    Run: ``python -m reidlab train clothes_changing --data prcc:DIR --run runs/prcc``. Score:
    docs/results.md.
    """
    with_words = corrected()
    return replace(
        with_words, name="clothes_changing",
        text=replace(with_words.text, trainable=False), fusion=Fusion(name="none"),
        loss=replace(with_words.loss, weights=replace(
            with_words.loss.weights, info_nce=0.0, cloth_match=0.0, summed_score=0.0, itm=0.0,
            cloth_image=1.0), learned_temperature=False))


def tiny(experiment: TextImageExperiment) -> TextImageExperiment:
    """Two CPU cores, minutes, from the encoders that the package ships, on the synthetic world.

    ``image.pretrained=none text.pretrained=none`` starts from nothing. The notes' heads and gate
    take a lower rate: at 1.5e-3 the gate saturates within hundreds of steps and nothing is learned
    after that. The ITM head is left out: in these minutes it stays at chance and takes half of the
    time (docs/log.md).
    """
    if experiment.loss.weights.itm:
        experiment = replace(experiment, fusion=Fusion(name="none"), loss=replace(
            experiment.loss, weights=replace(experiment.loss.weights, itm=0.0)))
    lr = 5e-4 if experiment.heads.name in ("linear", "none") else 3e-4
    loss = experiment.loss
    if experiment.heads.name == "none":  # the better of .02 and .07 on val (docs/results.md)
        loss = replace(loss, temperature=0.07)
    return replace(
        experiment, size="tiny",
        image=Image(pretrained="reidlab:vit", height=96, width=48, dim=128, layers=4, heads=4,
                    activation="relu", stem=True),
        text=replace(experiment.text, pretrained="reidlab:bert", dim=128, layers=1, heads=4,
                     activation="relu", dropout=0.0),
        data=replace(experiment.data, jitter=0.1, crop_padding=2),
        loss=loss, heads=_own_width(experiment, 128),
        scoring=replace(experiment.scoring, mirror=True),
        training=replace(experiment.training, optimizer="adamw", lr=lr, weight_decay=0.05,
                         warmup=100, max_grad_norm=1.0, final_lr=1e-5, batch_size=64, epochs=30,
                         batches_per_epoch=22, monitor_every=22, validate_every=15,
                         checkpoint_minutes=0.5, mixed_precision=False),
    )


def small(experiment: TextImageExperiment) -> TextImageExperiment:
    """One GPU, from scratch."""
    return replace(
        experiment, size="small",
        data=replace(experiment.data, people=8000),
        image=Image(height=192, width=96, dim=384, layers=8, heads=6, stem=True),
        text=replace(experiment.text, dim=384, layers=4, heads=6),
        heads=_own_width(experiment, 384),
        training=replace(experiment.training, optimizer="adamw", lr=5e-4, weight_decay=0.05,
                         warmup=500, max_grad_norm=1.0),
    )


def base(experiment: TextImageExperiment) -> TextImageExperiment:
    """ViT-B/16 and BERT-base with pretrained weights, as the notes have them."""
    return replace(
        experiment,
        image=Image(pretrained="google/vit-base-patch16-224"),
        text=replace(experiment.text, pretrained="bert-base-uncased"),
    )


def clip(experiment: TextImageExperiment) -> TextImageExperiment:
    """CLIP's two towers (ViT-B/16) at 384×128, as published text-based retrieval has them.

    The towers learn at a fifth of the rate of what is new (IRRA, arXiv:2303.12501, §4).
    """
    name = "openai/clip-vit-base-patch16"
    return replace(
        experiment, size="clip",
        image=Image(pretrained=name, height=384, width=128),
        text=replace(experiment.text, pretrained=name, dim=512, heads=8, max_length=77, dropout=0.0,
                     pooling="last"),
        data=replace(experiment.data, crop_padding=10, random_erasing=0.5),
        heads=_own_width(experiment, 512),
        training=replace(experiment.training, optimizer="adamw", lr=5e-5, backbone_lr=1e-5,
                         warmup=1000, epochs=60, batch_size=64, max_grad_norm=1.0),
    )


def _own_width(experiment: TextImageExperiment, width: int) -> Heads:
    """Heads that add nothing have the width of the encoders."""
    heads = experiment.heads
    return replace(heads, embedding=width) if heads.name == "none" else heads


DESIGNS = {fn.__name__: fn for fn in (
    projection, merged, residual, attention, deep_attention, corrected)}
FURTHER = {fn.__name__: fn for fn in (baseline, clothes_changing)}  # of no note
SIZES = {fn.__name__: fn for fn in (tiny, small, base, clip)}
