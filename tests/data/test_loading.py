"""Batches: who is in them, and that nothing but (seed, step) decides."""
import numpy as np
import pytest
import torch

from reidlab.batches.augmentation import augment, relit
from reidlab.batches.text_image import Batches
from reidlab.config.text_image import Data
from reidlab.data.loading import (
    _synthetic_split,
    load_split,
    load_text_image,
    synthetic_keys,
    synthetic_record,
    synthetic_text_image,
)
from reidlab.data.packing import normalized
from tests.conftest import mini


@pytest.mark.covers("R1")
def test_splits_share_no_person_and_no_outfit(data):
    people = [set(s.pids.tolist()) for s in (data.train, data.val, data.test)]
    outfits = [set(s.outfits.tolist()) for s in (data.train, data.val, data.test)]
    for group in (people, outfits):
        assert not (group[0] & group[1] or group[0] & group[2] or group[1] & group[2])
    assert data.classes == 48


def test_every_described_outfit_has_one_lure():
    keys = synthetic_keys("test", 10, 3, 2)
    wearers = {}
    for person, outfit, _ in keys:
        wearers.setdefault(outfit, set()).add(person)
    first = {}
    for person, outfit, _ in keys:
        first.setdefault(person, outfit)
    assert len(keys) == 60 and all(len(wearers[o]) == 2 for o in first.values())
    assert len(set(first.values())) == 10


def test_more_training_people_leave_the_test_people_alone():
    few, many = (
        synthetic_text_image(Data(people=n, val_people=2, test_people=3), (96, 48)) for n in (2, 4)
    )
    assert few.test.records == many.test.records
    assert (few.test.images == many.test.images).all()


def test_one_split_alone_is_that_split():
    experiment = Data(people=4, val_people=2, test_people=3)
    whole, alone = (
        synthetic_text_image(experiment, (96, 48)).test,
        load_split(experiment, (96, 48), "test"),
    )
    assert alone.records == whole.records and (alone.images == whole.images).all()


@pytest.mark.covers("R1")
def test_labels_are_contiguous_and_records_complete(data):
    batches = Batches(data.train, mini())
    labels = np.unique(np.concatenate([batches(k).pid.numpy() for k in range(6)]))
    assert labels.min() == 0 and labels.max() == 47
    one = data.train.records[0]
    assert one.path and one.captions and one.id_captions and one.cloth_captions
    assert one.camid in range(1, 7)


def test_a_batch_brings_each_person_in_several_outfits(data):
    batch = Batches(data.train, mini(data__images_per_person=4))(0)
    people, counts = np.unique(batch.pid.numpy(), return_counts=True)
    assert len(people) == 8 and (counts == 4).all()
    for person in people:
        assert len(set(batch.outfit[batch.pid == int(person)].tolist())) == 3
    assert batch.is_matched.all() and (batch.outfit == batch.cloth_outfit).all()


@pytest.mark.slow
@pytest.mark.covers("R2", "R1")
def test_half_of_the_rows_carry_clothes_of_another_training_person(data):
    batches = Batches(data.train, mini("attention"))
    spoken = {c: r for r in data.train.records for c in r.cloth_captions}
    shares = []
    for step in range(8):
        batch = batches(step)
        shares.append(batch.is_matched.float().mean().item())
        for k, matched in enumerate(batch.is_matched):
            phrase = batch.cloth_text[k]
            assert phrase in spoken  # drawn from the training split only
            if not matched:
                assert phrase not in [r.cloth_captions[0] for r in data.train.records
                                      if r.pid == np.unique(data.train.pids)[batch.pid[k]]]
    assert 0.35 < np.mean(shares) < 0.65


def test_step_and_seed_decide_everything_and_shards_agree(data):
    one, two = Batches(data.train, mini()), Batches(data.train, mini())
    two(0), two(5)
    a, b = one(3), two(3)
    assert torch.equal(a.image, b.image) and a.id_text == b.id_text
    halves = [one(3, slice(0, 16)), one(3, slice(16, 32))]
    assert torch.equal(torch.cat([h.image for h in halves]), a.image)
    assert halves[0].id_text == a.id_text  # all texts, since losses need them
    assert not torch.equal(Batches(data.train, mini(seed=1))(3).image, a.image)


def test_a_pass_shows_every_picture_once_without_person_sampling(data):
    sampler = Batches(data.train, mini("attention", data__mismatched_fraction=0.0,
                                       data__pairs="sampled")).sampler
    seen = [row[0] for step in range(sampler.batches_per_pass) for row in sampler.pick(step)]
    assert len(seen) == len(set(seen)) == 576


@pytest.mark.covers("R2")
def test_listed_pairs_show_each_picture_once_with_each_caption_that_is_drawn_once(data):
    """Note 001 §2.2.4, over two passes and another batch size."""
    sampler = Batches(data.train, mini("attention")).sampler
    other = Batches(data.train, mini("attention", training__batch_size=16)).sampler
    passes = [[row for step in range(start, start + s.batches_per_pass) for row in s.pick(step)]
              for s, start in ((sampler, 0), (sampler, sampler.batches_per_pass), (other, 0))]
    wrong = []
    for rows in passes:
        matched = [row[0] for row in rows if row[0] == row[2]]
        mismatched = {row[0]: row[2:] for row in rows if row[0] != row[2]}
        assert sorted(matched) == sorted(mismatched) == list(range(576))
        wrong.append(mismatched)
    assert wrong[0] == wrong[1] == wrong[2]
    pids = data.train.pids
    assert all(pids[picture] != pids[said] for picture, (said, _) in wrong[0].items())
    assert len({said for said, _ in wrong[0].values()}) > 200
    again = Batches(data.train, mini("attention", seed=1)).sampler
    assert {row[0]: row[2:] for row in again.pick(0) if row[0] != row[2]}.items() - (
        wrong[0].items())


def test_augmentation_off_is_the_picture_and_on_keeps_range_and_size(data):
    pictures = torch.from_numpy(data.train.images[:8].copy())
    image, still = normalized(pictures), Data(flip=0, jitter=0, crop_padding=0)
    assert torch.equal(augment(pictures, still, torch.Generator(), 8, slice(None)), image)
    mirrored = augment(
        pictures, Data(flip=1, jitter=0, crop_padding=0), torch.Generator(), 8, slice(None)
    )
    assert torch.equal(mirrored, image.flip(-1))
    moved = augment(pictures, Data(), torch.Generator().manual_seed(1), 8, slice(None))
    assert moved.shape == image.shape and moved.abs().max() <= 1 and not torch.equal(moved, image)
    shifted = augment(
        pictures,
        Data(flip=0, jitter=0, crop_padding=4),
        torch.Generator().manual_seed(1),
        8,
        slice(None),
    )
    inner = image[0, :, 8:-8, 8:-8]
    assert any(torch.equal(shifted[0, :, 8 + dy:88 + dy, 8 + dx:40 + dx], inner)
               for dy in range(-4, 5) for dx in range(-4, 5))


def test_relighting_scales_brightness_and_then_contrast_around_the_mean_grey():
    image = torch.tensor([0.2, 0.8]).expand(1, 3, 1, 2)
    none, half = torch.ones(1), torch.tensor([0.5])
    torch.testing.assert_close(relit(image, none, none), image)
    assert relit(image, half, none)[0, 0, 0].tolist() == pytest.approx([0.1, 0.4])
    assert relit(image, none, half)[0, 0, 0].tolist() == pytest.approx([0.35, 0.65])  # mean 0.5
    assert relit(image, 2 * none, none)[0, 0, 0].tolist() == pytest.approx([0.4, 1.0])  # clamped
    red = torch.tensor([1.0, 0.0, 0.0])[None, :, None, None]
    assert relit(red, none, 0 * none)[0, :, 0, 0].tolist() == pytest.approx([0.299] * 3)


def test_cached_pictures_are_the_drawn_ones(data):
    from reidlab.synthetic.world import World
    world, keys = World(0, (96, 48)), synthetic_keys("train", 48, 3, 4)
    _synthetic_split.cache_clear()  # what a later process reads back
    kept = load_text_image(mini().data, (96, 48)).train.records
    assert kept == [synthetic_record(world, key) for key in keys]
    for k in (0, 100, 575):
        assert (data.train.images[k] == world.draw(*keys[k]).image).all()


def test_too_few_people_for_a_batch_are_named(data):
    with pytest.raises(ValueError, match="a batch of 512 needs 128 people at 4 images"):
        Batches(data.train, mini(training__batch_size=512))


@pytest.mark.parametrize("source", ["market", "cuhk-pedes:", "cuhk-pedes"])
def test_unknown_sources_are_listed(source):
    with pytest.raises(ValueError, match="known: synthetic, cuhk-pedes:DIR"):
        load_text_image(Data(source=source), (96, 48))


def test_whole_captions_say_everything_of_identity_and_nothing_of_clothing(data):
    whole = load_text_image(mini(data__captions="whole").data, (96, 48))
    for name in ("train", "val", "test"):
        for ours, split in zip(getattr(whole, name).records, getattr(data, name).records,
                               strict=True):
            assert ours.id_captions == ours.captions == split.captions
            assert ours.cloth_captions == ("",) * len(split.captions)
    one = load_split(mini(data__captions="whole").data, (96, 48), "val")
    assert one.records == whole.val.records
    batch = Batches(whole.train, mini(data__captions="whole"))(0)
    assert batch.says_id.all() and not batch.says_cloth.any()
