"""Batches that workers read ahead are those that are read when they are asked for."""
import os
import signal

import psutil
import pytest
import torch

from reidlab.batches.loading import moved, read_ahead, workers_here
from reidlab.batches.text_image import Batches
from reidlab.batches.visible_infrared import VisibleInfraredBatches
from reidlab.data.loading import load_visible_infrared
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from tests.conftest import mini
from tests.engine.conftest import rows


def fields(batch):
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value
            for name, value in vars(batch).items()}


@pytest.mark.parametrize("start", [0, 5])
def test_workers_give_the_steps_in_order_and_equal_to_the_last_byte(data, start):
    batches = Batches(data.train, mini("attention"))
    ahead = list(read_ahead(lambda step: batches.read(step, slice(0, 8)), start, 9, workers=2))
    assert len(ahead) == 9 - start
    for step, batch in enumerate(ahead, start=start):
        assert batch.image.dtype == torch.uint8 and batch.image.shape[0] == 8
        assert fields(batch) == fields(batches.read(step, slice(0, 8)))


def test_workers_read_and_the_caller_does_not(data):
    assert os.getpid() not in set(read_ahead(lambda step: os.getpid(), 0, 8, workers=2))
    assert set(read_ahead(lambda step: os.getpid(), 0, 8, workers=0)) == {os.getpid()}


def test_what_a_worker_cannot_read_is_one_line_and_not_a_traceback():
    def broken(step):
        if step == 2:
            raise ReidlabError("no fitting caption; set data.mismatched_fraction=0")
        return step
    for workers in (0, 1):
        found = read_ahead(broken, 0, 5, workers)
        assert [next(found), next(found)] == [0, 1]
        with pytest.raises(ReidlabError, match="^no fitting caption; set data.mismatch"):
            next(found)


def test_workers_end_with_whoever_reads(data):
    batches, here = Batches(data.train, mini()), psutil.Process()
    before = here.children()
    ahead = read_ahead(batches.read, 0, 1000, workers=2)
    next(ahead)
    workers = [p for p in here.children() if p not in before and p.cmdline() == here.cmdline()]
    assert len(workers) == 2  # forked: whatever else the library starts has a command of its own
    ahead.close()
    assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_a_worker_that_dies_is_told_and_not_waited_for():
    def die(step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return step
    with pytest.raises(ReidlabError, match="^a worker that reads batches died.*lower training.w"):
        list(read_ahead(die, 0, 10, workers=1))


def test_a_fault_inside_a_worker_stays_what_it_is():
    def broken(step):
        raise RuntimeError("no such picture")
    with pytest.raises(RuntimeError, match="no such picture"):
        list(read_ahead(broken, 0, 3, workers=1))


def test_a_batch_without_room_in_shared_memory_is_told_and_not_waited_for(data, monkeypatch):
    def full(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>")
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    batches = Batches(data.train, mini())
    with pytest.raises(ReidlabError, match="^no shared memory for a batch .*lower training.worker"):
        next(read_ahead(batches.read, 0, 3, workers=1))


def test_workers_leave_the_random_state_of_the_training_alone(data):
    batches, before = Batches(data.train, mini()), torch.get_rng_state()
    list(read_ahead(batches.read, 0, 3, workers=2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_run_with_workers_is_the_run_without(run, tmp_path):
    train(mini(training__workers=2), tmp_path / "run", quiet=True)
    assert rows(tmp_path / "run") == rows(run)


def test_a_gpu_gets_workers_unasked_and_cpus_do_not(monkeypatch):
    assert workers_here(None) == 0 and workers_here(3) == 3
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert [workers_here(None, processes) for processes in (1, 2, 4, 16)] == [8, 7, 3, 1]
    assert workers_here(0) == 0
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert workers_here(3) == 0  # such workers would need a copy of all pictures


@pytest.mark.parametrize("part", [slice(0, 3), slice(3, 8), slice(6, 8)])
def test_a_share_of_a_batch_holds_the_rows_of_the_whole(data, part):
    """Draws are made for the whole batch, so that processes that share one augment as one would."""
    changes = {"training__batch_size": 8, "data__random_erasing": 0.5}
    batches = Batches(data.train, mini("attention", **changes))
    torch.testing.assert_close(batches(3, part).image, batches(3).image[part], rtol=0, atol=0)
    design = mini("embednet_corrected", data__channel_exchange=0.5, data__images_per_person=2,
                  **changes)
    pair = load_visible_infrared(design.data, (design.image.height, design.image.width)).train
    whole, share = (VisibleInfraredBatches(pair, design)(3, rows) for rows in (slice(None), part))
    for side in ("visible", "infrared"):
        assert torch.equal(getattr(share, side), getattr(whole, side)[part])
    assert torch.equal(share.pid, whole.pid) and len(whole.pid) == 16


def test_random_erasing_hides_pixels_of_some_text_image_pictures(data):
    plain = Batches(data.train, mini())(0).image
    erased = Batches(data.train, mini(data__random_erasing=0.5))(0).image
    hit = (plain != erased).flatten(1).any(dim=1)
    assert 0 < hit.sum() < len(hit) and (erased[plain != erased] == 0).all()


def test_moved_moves_every_tensor_and_nothing_else(data):
    batch = Batches(data.train, mini()).read(0)
    on_meta = moved(batch, lambda x: x.to("meta"))
    assert {name: value.device.type for name, value in vars(on_meta).items()
            if isinstance(value, torch.Tensor)} == dict.fromkeys(
        ["image", "pid", "outfit", "cloth_outfit", "is_matched", "says_id", "says_cloth"], "meta")
    assert on_meta.id_text is batch.id_text and on_meta.shard == batch.shard
