"""Visible-infrared data: synthetic pairs, three layouts on disk, batches."""
import numpy as np
import pytest
import torch

from reidlab.__main__ import main
from reidlab.batches.augmentation import exchange_channels, random_erasing
from reidlab.batches.visible_infrared import VisibleInfraredBatches
from reidlab.config.changes import change
from reidlab.config.visible_infrared import Data
from reidlab.data.checking import check
from reidlab.data.exporting import export_synthetic
from reidlab.data.loading import load_visible_infrared, synthetic_visible_infrared
from reidlab.data.visible_infrared import INFRARED_LAYOUTS, read
from reidlab.errors import ReidlabError
from reidlab.presets import preset
from reidlab.synthetic.world import World

SIZE = (96, 48)
FEW = {"data.people": 12, "data.val_people": 4, "data.test_people": 4, "data.images_per_outfit": 3,
       "training.batch_size": 16, "data.images_per_person": 4}


@pytest.fixture(scope="module")
def experiment():
    return change(preset("embednet_corrected"), FEW)


@pytest.fixture(scope="module")
def data(experiment, cache):
    return load_visible_infrared(experiment.data, SIZE)


@pytest.fixture(scope="module", params=sorted(INFRARED_LAYOUTS))
def exported(request, tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("camera-cam3") / request.param  # a root that names a camera
    export_synthetic(folder, request.param, SIZE, people=12, held_out=4, shots=3)
    return request.param, folder


@pytest.mark.covers("V36")
def test_drawn_pairs_show_the_same_shots_in_training_and_others_when_held_out(data):
    world = World(0, SIZE)
    for pair, same in ((data.train, True), (data.test, False)):
        shots = [[r.path.split("/")[1:] for r in s.records] for s in (pair.visible, pair.infrared)]
        assert (shots[0] == shots[1]) == same
        assert not same or np.array_equal(pair.infrared.images[4], world.draw(1, 1, 1).infrared)
        assert set(pair.visible.pids) == set(pair.infrared.pids)
    assert (data.train.infrared.images[..., 0] == data.train.infrared.images[..., 2]).all()
    people = [set(getattr(data, split).visible.pids) for split in ("train", "val", "test")]
    assert not people[0] & people[1] and not people[1] & people[2] and data.classes == 12


@pytest.mark.covers("V36")
def test_clothing_colour_does_not_show_in_infrared(cache):
    """Two outfits that differ in dye alone are one outfit in infrared."""
    from reidlab.synthetic import render
    world = World(0, SIZE)
    person, outfit, scene = world.person(1), world.outfit(1), world.scene(1, 1, 1)
    other = outfit | {"upper_colour": "red" if outfit["upper_colour"] != "red" else "blue"}
    day, night, _ = render.render(person, outfit, scene, size=SIZE)
    dyed, dyed_night, _ = render.render(person, other, scene, size=SIZE)
    assert not np.array_equal(day, dyed) and np.array_equal(night, dyed_night)


@pytest.mark.covers("V36")
def test_a_folder_reads_back_as_what_was_drawn(exported):
    name, folder = exported
    splits = read(name, folder)
    known = INFRARED_LAYOUTS[name]
    assert set(splits) == {"train", "val", "test"}
    for split, (visible, infrared) in splits.items():
        people = {r.pid for r in visible}
        assert people == {r.pid for r in infrared}
        assert {r.camid for r in visible} <= set(known.visible)
        assert {r.camid for r in infrared} <= set(known.infrared)
        held_out = 4 if known.has_val or split == "test" else 2
        assert len(people) == (12 if split == "train" and known.has_val else
                               14 if split == "train" else held_out)
        assert len(visible) == len(infrared) == 3 * len(people)
    found = load_visible_infrared(Data(source=f"{name}:{folder}"), SIZE)
    drawn = synthetic_visible_infrared(0, SIZE, "test", 4, 3)
    closest = np.abs(found.test.visible.images[:, None].astype(float)
                     - drawn.visible.images[None]).mean(axis=(2, 3, 4)).min(axis=1)
    assert closest.max() < 6  # the same pictures, but for what JPEG takes


@pytest.mark.covers("V36")
def test_check_finds_nothing_wrong_and_then_what_was_broken(exported, tmp_path):
    import shutil
    name, folder = exported
    assert check(name, folder)["problems"] == []
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    record = read(name, broken)["test"][0][0]
    (broken / record.path).write_bytes(b"no picture")
    found = check(name, broken)["problems"]
    assert [p["where"] for p in found] == [f"test, {record.path}"] and found[0]["fatal"]
    with pytest.raises(ReidlabError, match="cannot be opened as a picture"):
        load_visible_infrared(Data(source=f"{name}:{broken}"), SIZE)
    next(iter(INFRARED_LAYOUTS[name].lists(broken, 1).values())).unlink()
    assert check(name, broken)["problems"][0]["what"] == "is missing"
    with pytest.raises(ReidlabError, match="the folder is incomplete"):
        read(name, broken)


@pytest.mark.covers("V36")
def test_regdb_has_the_published_counts_when_as_many_people_are_drawn():
    from reidlab.data.records import Record
    kinds = {split: tuple([Record(path=f"{split}{kind}{p}{k}", pid=p + start, camid=1)
                           for p in range(206) for k in range(10)] for kind in "vi")
             for split, start in (("train", 0), ("test", 206))}
    where, texts = INFRARED_LAYOUTS["regdb"].write(kinds, 1)
    assert len(where) == 412 * 20
    for kind in ("visible", "thermal"):
        lines = texts[f"idx/test_{kind}_1.txt"].splitlines()
        assert len(lines) == INFRARED_LAYOUTS["regdb"].pictures["test"][0] == 2060


@pytest.mark.parametrize(("line", "says"), [
    ("../../secret.bmp 3", "leaves the folder"), ("/etc/passwd 3", "leaves the folder"),
    ("Visible/1.bmp", "need “path label”"), ("Visible/1.bmp three", "need “path label”")])
def test_lists_are_untrusted(tmp_path, cache, line, says):
    folder = tmp_path / "regdb"
    export_synthetic(folder, "regdb", SIZE, people=4, held_out=2, shots=1)
    file = folder / "idx" / "train_visible_1.txt"
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(ReidlabError, match=says):
        read("regdb", folder)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReidlabError, match="cannot be read as text"):
        read("regdb", folder)


def test_wrong_requests_are_one_line(tmp_path, capsys, cache):
    with pytest.raises(ReidlabError, match="known: synthetic, sysu-mm01:DIR"):
        load_visible_infrared(Data(source="market:x"), SIZE)
    with pytest.raises(ReidlabError, match="no data folder"):
        load_visible_infrared(Data(source=f"llcm:{tmp_path}/none"), SIZE)
    assert main(["data", "export", str(tmp_path / "x"), "--layout", "market"]) == 2
    assert "known: cuhk-pedes" in capsys.readouterr().err
    assert main(["data", "export", str(tmp_path / "r"), "--layout", "regdb", "--people", "4",
                 "--held-out", "2", "--shots", "1"]) == 0
    assert main(["data", "check", str(tmp_path / "r"), "--layout", "regdb"]) == 0
    assert "| test | 2 | 2 | 2 | 206 / 2060 / 2060 |" in capsys.readouterr().out


@pytest.mark.covers("V36")
def test_a_batch_is_p_people_by_k_pictures_position_by_position(data, experiment):
    batches = VisibleInfraredBatches(data.train, experiment)
    visible, infrared, labels = batches.pick(3)
    assert len(visible) == len(infrared) == 16 and len(set(labels)) == 4
    assert [data.train.visible.pids[v] for v in visible] == [
        data.train.infrared.pids[i] for i in infrared]
    assert batches.pick(3) == (visible, infrared, labels) != batches.pick(4)
    batch = batches(3)
    assert batch.visible.shape == (16, 3, 96, 48) and batch.pid.shape == (32,)
    assert torch.equal(batch.pid[:16], batch.pid[16:])
    seen = [label for step in range(3) for label in set(batches.pick(step)[2])]
    assert sorted(seen) == list(range(12))  # everybody once a pass


@pytest.mark.covers("V36")
def test_early_pairs_are_one_shot_and_later_ones_any(data, experiment):
    batches = VisibleInfraredBatches(data.train, experiment)

    def shots(progress):
        visible, infrared, _ = batches.pick(0, progress)
        return [data.train.visible.records[v].path.split("/")[1:] ==
                data.train.infrared.records[i].path.split("/")[1:]
                for v, i in zip(visible, infrared, strict=True)]
    assert all(shots(0.1)) and not all(shots(0.5))


def test_erasing_and_channel_exchange():
    image = torch.rand(64, 3, 96, 48) + 0.5
    erased = random_erasing(image, 1.0, torch.Generator().manual_seed(0))
    share = (erased == 0).all(dim=1).float().mean(dim=(1, 2))
    assert share.min() > 0.005 and share.max() < 0.25
    assert torch.equal(random_erasing(image, 0.0, torch.Generator()), image)
    grey = exchange_channels(image, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(grey[:, 0], grey[:, 2])
    assert {int((image[k] == grey[k, 0]).flatten(1).all(dim=1).nonzero()[0]) for k in range(64)
            } == {0, 1, 2}
    assert torch.equal(exchange_channels(image, 0.0, torch.Generator()), image)


def test_too_few_people_are_named(data, experiment):
    with pytest.raises(ReidlabError, match="needs 32 people seen in both modalities"):
        VisibleInfraredBatches(data.train, change(experiment, {"training.batch_size": 128}))


@pytest.mark.covers("V27")
def test_unnamed_people_come_alone_and_without_a_label(data, experiment):
    batches = VisibleInfraredBatches(
        data.train, change(experiment, {"data.labelled_fraction": 0.5})
    )
    visible, infrared, labels = batches.pick(0)
    assert labels.count(-1) == 8 and set(labels) - {-1} <= set(range(6))
    named = set(sorted(set(data.train.visible.pids))[:6])
    for v, i, label in zip(visible, infrared, labels, strict=True):
        pids = {data.train.visible.pids[v], data.train.infrared.pids[i]}
        assert (pids <= named and len(pids) == 1) if label >= 0 else not pids & named
