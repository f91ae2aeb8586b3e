"""The visible-infrared designs: one function a design, one a size."""
from dataclasses import replace
from typing import Literal

from reidlab.config import Expansion, Image, Stages, Training, VisibleInfraredExperiment
from reidlab.config.visible_infrared import Data, Loss, Weights


def deen() -> VisibleInfraredExperiment:
    """The reference of note 004: DEEN on a ResNet, arXiv:2303.14481.

    Run: ``python -m reidlab train deen --run runs/deen``. Score: docs/results.md.
    """
    return VisibleInfraredExperiment(
        name="deen", size="base",
        image=Image(pretrained="microsoft/resnet-50", height=384, width=144, dim=2048, heads=8),
        stages=Stages(backbone="resnet", low="previous", neck="bnneck"),
        expansion=Expansion(name="deen"),
        loss=Loss(weights=Weights(orthogonality=0.01)),
        training=Training(lr=3e-4, weight_decay=5e-4, warmup=500),
    )


def embednet() -> VisibleInfraredExperiment:
    """Note 004 as written: every stage on the images, DEE on patches, patches pushed apart.

    Run: ``python -m reidlab train embednet --run runs/embednet``. Score: docs/results.md.
    """
    return VisibleInfraredExperiment(
        name="embednet", size="base",
        stages=Stages(chained=False, low="stage0", aggregation="cross_pyramid", final_norm=False,
                      neck="linear"),
        expansion=Expansion(name="dee"),
        loss=Loss(weights=Weights(orthogonality=0.01), orthogonality="patches"),
        training=Training(lr=3e-4, weight_decay=5e-4, warmup=500),
    )


def embednet_tmhee() -> VisibleInfraredExperiment:
    """`embednet` with the note's first replacement of DEE as written: attention over the batch.

    Run: ``python -m reidlab train embednet_tmhee --run runs/tmhee``. Score: docs/results.md.
    """
    return replace(embednet(), name="embednet_tmhee", expansion=Expansion(name="tmhee_over_batch"))


def embednet_cmatm() -> VisibleInfraredExperiment:
    """`embednet` with the second replacement, rebuilt: the note's code does not run.

    Run: ``python -m reidlab train embednet_cmatm --run runs/cmatm``. Score: docs/results.md.
    """
    return replace(embednet(), name="embednet_cmatm",
                   expansion=Expansion(name="cmatm_rebuilt", heads=8))


def embednet_ssdec() -> VisibleInfraredExperiment:
    """`embednet` with the third replacement, rebuilt as the second was, and its contrast.

    The note prints no loss for the contrast.

    Run: ``python -m reidlab train embednet_ssdec --run runs/ssdec``. Score: docs/results.md.
    """
    plain = embednet()
    return replace(plain, name="embednet_ssdec",
                   expansion=Expansion(name="ssdec_rebuilt", heads=8),
                   loss=replace(plain.loss, weights=replace(plain.loss.weights, contrast=1.0)))


def embednet_corrected() -> VisibleInfraredExperiment:
    """What note 004 wants: stages chained, heads as views that differ, one space for both cameras.

    Training starts from pairs that differ in nothing but the modality, where the data have them,
    and from their patches: without that the two modalities do not find together within hundreds
    of steps.

    Run: ``python -m reidlab train embednet_corrected --run runs/vi``. Score: docs/results.md.
    """
    return VisibleInfraredExperiment(
        name="embednet_corrected", size="base",
        data=Data(aligned_until=0.25, images_per_person=2),
        stages=Stages(chained=True, low="previous", pooling="query", neck="linear_by_modality",
                      retrieve="neck"),
        expansion=Expansion(name="tmhee"),
        loss=Loss(weights=Weights(contrast=1.0, orthogonality=0.1, patches=1.0),
                          orthogonality="views", contrast_over="all", metric_from=0.5),
        training=Training(lr=3e-4, weight_decay=0.05, warmup=500, optimizer="adamw"),
    )


def _by_backbone(experiment: VisibleInfraredExperiment, vit: Image, resnet: Image,
                 depth: Literal[50, 18, 10]) -> VisibleInfraredExperiment:
    if experiment.stages.backbone == "resnet":
        return replace(experiment, image=resnet,
                       stages=replace(experiment.stages, resnet=depth))
    return replace(experiment, image=vit)


def tiny(experiment: VisibleInfraredExperiment) -> VisibleInfraredExperiment:
    """Two CPU cores, minutes, from the encoders that the package ships, on the synthetic people.

    Where patches of one shot bring the two modalities together, one patch embedding serves both,
    and classification, triplets and centres are left out: in these minutes they only get in the way
    (docs/log.md).
    """
    weights = experiment.loss.weights
    if weights.patches:
        weights = replace(weights, patches=2.0, cls=0.0, triplet=0.0, cpm=0.0)
        experiment = replace(
            experiment, loss=replace(experiment.loss, weights=weights),
            data=replace(experiment.data, random_erasing=0.0, channel_exchange=0.9),
            stages=replace(experiment.stages, embeddings=1),
            expansion=replace(experiment.expansion, dropout=0.0))
    experiment = _by_backbone(
        experiment,
        Image(pretrained="reidlab:vit", height=96, width=48, dim=128, layers=4, heads=4,
              activation="relu", stem=True),
        Image(pretrained="reidlab:resnet", height=96, width=48, dim=256, heads=4), 10)
    return replace(
        experiment,
        size="tiny",
        scoring=replace(experiment.scoring, mirror=True, channels=True),
        data=replace(experiment.data, people=1000, crop_padding=4),
        training=Training(
            optimizer="adamw",
            lr=1.5e-3 if experiment.stages.backbone == "resnet" else 5e-4,  # by val (docs/log.md)
            weight_decay=0.05,
            warmup=100,
            max_grad_norm=1.0,
            final_lr=1e-5,
            batch_size=32,
            epochs=30,
            batches_per_epoch=30,
            monitor_every=30,
            validate_every=15,
            checkpoint_minutes=0.5,
            mixed_precision=False,
        ),
    )


def small(experiment: VisibleInfraredExperiment) -> VisibleInfraredExperiment:
    """One GPU, from scratch."""
    experiment = _by_backbone(
        experiment, Image(height=192, width=96, dim=384, layers=8, heads=6, stem=True),
        Image(height=192, width=96, dim=512, heads=8), 18)
    return replace(
        experiment, size="small", data=replace(experiment.data, people=8000),
        training=replace(experiment.training, optimizer="adamw", lr=5e-4, weight_decay=0.05,
                         batch_size=64, max_grad_norm=1.0))


def base(experiment: VisibleInfraredExperiment) -> VisibleInfraredExperiment:
    """Pretrained weights: ViT-B/16 at 384² as the note has it, or ResNet-50 at 384×144."""
    if experiment.stages.backbone == "resnet":
        return experiment
    return replace(experiment, image=Image(pretrained="google/vit-base-patch16-384",
                                           height=384, width=384))


DESIGNS = {fn.__name__: fn for fn in (
    deen, embednet, embednet_tmhee, embednet_cmatm, embednet_ssdec, embednet_corrected)}
FURTHER: dict = {}  # deen is the reference of the designs above
SIZES = {fn.__name__: fn for fn in (tiny, small, base)}
