"""Comparisons and sweeps: resumable, complete, honest about their spread."""
import json
import statistics
from functools import reduce

import pytest
import torch

from reidlab.__main__ import main
from reidlab.bench import bench, markdown, step_by_step, training_step
from reidlab.beside import OURS_ALONE, seconds_a_step, speed_of
from reidlab.config import flatten
from reidlab.engine.compare import compare, summarise
from reidlab.engine.compare import markdown as lines_of
from reidlab.engine.sweep import label, sweep
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.fusion.selective_scan import linear_recurrence
from reidlab.plots.comparison import score_by_design
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder
from reidlab.tasks import TASKS
from reidlab.tasks.visible_infrared import TEST
from reidlab.widgets.live import LiveCurves
from tests.conftest import MINI

SHORT = {**MINI, "training.epochs": 1, "training.batches_per_epoch": 2}
FIELDS = {k.replace(".", "__"): v for k, v in SHORT.items()}


def fake(value, **more):
    scores = {"r1": value, "map": value, "same_outfit_at_1": 0.1}
    return {"tables": {"test": {"same_clothes": {"text_to_image": scores}}},
            "task": "text-image", "parameters": 2_000_000, **more}


def test_means_intervals_differences_and_the_control_by_hand():
    found = summarise({"a": [fake(0.1), fake(0.3)], "b": [fake(0.5), fake(0.6)]})
    r1 = found["designs"]["a"]["R1 text → image"]
    assert r1["mean"] == pytest.approx(0.2) and r1["values"] == [0.1, 0.3]
    assert r1["high"] - r1["mean"] == pytest.approx(12.71 * 0.1414 / 2 ** 0.5, rel=1e-3)
    against = found["against"]["others"]["a"]["R1 text → image"]
    assert found["against"]["design"] == "b" and against["values"] == pytest.approx([0.4, 0.3])
    assert found["control"]["R1 text → image"] == pytest.approx(0.2)
    assert found["designs"]["a"]["parameters (M)"]["mean"] == 2
    assert "R1 re-ranked" not in found["designs"]["a"]  # never measured, never shown


@pytest.mark.parametrize(("seeds", "half"), [(2, 8.985), (3, 2.484), (6, 1.0495), (10, 0.7154)])
def test_intervals_are_students_t_for_any_number_of_seeds(seeds, half):
    """t(0.975, n − 1) / √n from the tables: 12.706, 4.303, 2.571, 2.262."""
    values = [0.0] * (seeds - 1) + [1.0]
    spread = statistics.stdev(values)
    found = summarise({"a": [fake(v) for v in values]})["designs"]["a"]["R1 text → image"]
    assert found["high"] - found["mean"] == pytest.approx(half * spread, rel=1e-3)


def test_with_one_seed_there_is_no_control_and_none_is_shown():
    table = summarise({"a": [fake(0.1)], "b": [fake(0.5)]})
    assert table["control"]["R1 text → image"] is None
    assert "| R1 text → image | 10.0 | 50.0 | – |" in lines_of(table)
    score_by_design(table, "R1 text → image")


def finished(folder, experiment, value=0.5):
    """A run as training leaves it behind, without the training."""
    run = RunFolder(folder)
    run.describe(experiment)
    run.log({"step": 1, "epoch": 1, "seconds": 2.0, "loss/total": 3.0,
             "monitor/embedding_cka": 0.5, "val/R1": 0.25, "gate/mean": 0.6})
    run.log({"step": 2, "epoch": 1, "seconds": 2.1, "loss/total": 3.0, "gate/mean": 0.7})
    report = fake(value) | {"task": experiment.task, "seed": experiment.seed, "probes": {}}
    report["tables"]["val"] = report["tables"]["test"]
    write_json(run.report, report)
    write_json(run.path / "machine.json", {"memory_gb": 1.0})


def test_a_finished_run_of_other_settings_is_refused_and_nothing_is_trained(tmp_path, capsys):
    for name in ("projection", "corrected"):
        finished(tmp_path / f"{name}-seed0", preset(name, training__epochs=3))
    compare(["projection", "corrected"], [0], tmp_path, changes={"training__epochs": 3})
    before = (tmp_path / "table.json").read_bytes()
    said = "holds another experiment .training.epochs: 3 there, 4 asked.; choose a new folder"
    with pytest.raises(ReidlabError, match=said):
        compare(["projection", "corrected"], [0], tmp_path, changes={"training__epochs": 4})
    assert (tmp_path / "table.json").read_bytes() == before
    curves = json.loads((tmp_path / "curves.json").read_text())["corrected-seed0"]
    assert curves == {"monitor/embedding_cka": [[1, 0.5]], "val/R1": [[1, 0.25]],
                      "gate/mean": [[1, 0.6]]}
    experiments = json.loads(before)["experiments"]
    assert experiments["corrected-seed0"]["training"]["epochs"] == 3
    assert main(["compare", "projection", "corrected", "--seeds", "0", "--out", str(tmp_path),
                 "--set", "training.epochs=5"]) == 2
    assert "3 there, 5 asked" in capsys.readouterr().err


@pytest.mark.covers("F10")
def test_sweep_folders_carry_whole_field_names_and_other_settings_are_refused(tmp_path):
    assert label({"image.heads": "2"}) == "image.heads=2" != label({"disentangle.heads": "2"})
    image, split = ({field: ["2", "4"]} for field in ("image.heads", "disentangle.heads"))
    for field in ("image.heads", "disentangle.heads"):
        for heads in (2, 4):
            finished(tmp_path / f"{field}={heads}", preset(
                "corrected", **{field.replace(".", "__"): heads}), heads / 10)
    rows = [sweep("corrected", grid, tmp_path)["rows"] for grid in (image, split)]
    assert [row["val_map"] for row in rows[0]] == [0.2, 0.4]
    with pytest.raises(ReidlabError, match="holds another experiment .seed: 0 there, 1 asked"):
        sweep("corrected", image, tmp_path, seed=1)
    with pytest.raises(ReidlabError, match="are one experiment"):
        sweep("corrected", {"image.heads": ["2", "02"]}, tmp_path)
    assert label({"a.b": "x/../y"}) != label({"a.b": "x-..-y"})
    assert "/" not in label({"a.b": "x/../y"})


def test_live_curves_and_the_shared_run_refuse_another_experiment(tmp_path):
    """Notebook 13 with other DATA or CHANGES showed the old table."""
    finished(tmp_path / "run", preset("corrected"))
    curves = LiveCurves({"corrected": (preset("corrected", training__epochs=3), tmp_path / "run")})
    with pytest.raises(ReidlabError, match="training.epochs: 30 there, 3 asked"):
        curves.train()
    assert LiveCurves({"corrected": (preset("corrected"), tmp_path / "run")}).train()["corrected"]


def test_seeds_and_designs_named_twice_are_refused(tmp_path):
    for presets, seeds in ((["corrected"], [0, 0]), (["corrected", "corrected"], [0])):
        with pytest.raises(ReidlabError, match="none twice"):
            compare(presets, seeds, tmp_path)
    with pytest.raises(ReidlabError, match="at least one run"):
        compare(["corrected"], [0], tmp_path, at_once=-1)


@pytest.mark.slow
@pytest.mark.covers("R9")
def test_a_comparison_trains_what_is_missing_and_writes_table_and_figure(
        tmp_path, cache, warm):
    table = compare(["projection", "corrected"], [0, 1], tmp_path, changes=FIELDS, at_once=2)
    assert set(table["designs"]) == {"projection", "corrected"} and table["seeds"] == [0, 1]
    measured = set(table["designs"]["corrected"])
    assert measured == set(TASKS["text-image"].columns) - {"R1 re-ranked"}
    assert (tmp_path / "comparison.svg").exists()
    text = (tmp_path / "table.md").read_text()
    assert "| R1 text → image |" in text and "A/A control" in text
    assert [RunFolder(tmp_path / f"corrected-seed{k}").experiment().seed for k in (0, 1)] == [0, 1]
    before = (tmp_path / "corrected-seed1" / "metrics.jsonl").read_bytes()
    again = compare(["projection", "corrected"], [0, 1], tmp_path, changes=FIELDS)
    assert again["designs"] == json.loads(json.dumps(table["designs"]))
    assert (tmp_path / "corrected-seed1" / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.covers("F10", "L12")
def test_a_sweep_is_resumable_and_names_the_best_on_val(tmp_path, cache, capsys, warm):
    """Two of the four points are trained, two stand there finished."""
    grid = {"disentangle.heads": ["2", "4"], "loss.temperature": ["0.05", "0.1"]}
    for heads in (2, 4):
        finished(tmp_path / f"disentangle.heads={heads}_loss.temperature=0.1", preset(
            "corrected", **FIELDS, disentangle__heads=heads, loss__temperature=0.1), heads / 1000)
    found = sweep("corrected", grid, tmp_path, changes=FIELDS, at_once=2)
    assert [(r["disentangle.heads"], r["loss.temperature"]) for r in found["rows"]] == [
        ("2", "0.05"), ("2", "0.1"), ("4", "0.05"), ("4", "0.1")]
    assert [r["val_map"] for r in found["rows"]][1::2] == [0.002, 0.004]
    assert found["best"]["val_map"] == max(r["val_map"] for r in found["rows"])
    one = RunFolder(tmp_path / "disentangle.heads=2_loss.temperature=0.05").experiment()
    assert one.disentangle.heads == 2 and one.loss.temperature == 0.05
    again = sweep("corrected", grid, tmp_path, changes=FIELDS)
    assert again["rows"] == found["rows"]
    assert main(["sweep", "corrected", "loss.temperature", "--out", str(tmp_path)]) == 2
    assert "part.field=value,value" in capsys.readouterr().err


PAIRS = {
    "data.people": 16,
    "data.val_people": 6,
    "data.test_people": 6,
    "data.images_per_outfit": 2,
    "training.epochs": 1,
    "training.batches_per_epoch": 3,
    "training.batch_size": 16,
    "training.monitor_every": 2,
    "training.validate_every": 1,
}


@pytest.mark.slow
@pytest.mark.covers("V10", "V28", "V14", "V31")
def test_visible_infrared_designs_stand_in_a_table_of_their_own(tmp_path, cache, warm):
    fields = {k.replace(".", "__"): v for k, v in PAIRS.items()}
    table = compare(["deen", "embednet", "embednet_corrected"], [0], tmp_path, changes=fields,
                    at_once=2)
    columns = set(TASKS["visible-infrared"].columns)
    assert all(set(scores) == columns for scores in table["designs"].values())
    costs = {name: scores["multiply-adds (M)"]["mean"] for name, scores in table["designs"].items()}
    assert costs["embednet"] > costs["embednet_corrected"] > 1  # the picture is embedded once
    assert "| R1 infrared → visible |" in (tmp_path / "table.md").read_text()
    found = sweep("embednet_corrected", {"expansion.heads": ["2", "4"]}, tmp_path / "heads",
                  changes=fields, at_once=2)
    assert {"val_map", "test_r1", "test_minp", "view_similarity"} <= set(found["best"])
    for row in found["rows"]:  # each number is the report's own
        file = tmp_path / "heads" / f"expansion.heads={row['expansion.heads']}" / "report.json"
        said = reduce(lambda part, key: part[key], TEST, json.loads(file.read_text()))
        assert (row["test_r1"], row["test_minp"]) == (said["r1"], said["minp"])
        assert said["minp"] != said["r1"]


def test_two_tasks_do_not_stand_in_one_table(tmp_path):
    with pytest.raises(ValueError, match="cannot stand in one table"):
        compare(["corrected", "deen"], [0], tmp_path)


def test_designs_that_cannot_be_compared_are_refused(tmp_path, capsys):
    assert main(["compare", "best", "--out", str(tmp_path)]) == 2
    assert "known: projection" in capsys.readouterr().err
    with pytest.raises(ValueError, match="at least one preset"):
        compare([], [0], tmp_path)
    assert preset("corrected").name == "corrected"


@pytest.mark.slow
@pytest.mark.covers("L16", "F6", "F7", "R17")
def test_the_bench_reports_ratios_and_asserts_no_time(cache, monkeypatch):
    monkeypatch.setattr("reidlab.bench.speed_of", lambda name: lambda: float(len(name)))
    steps = []
    monkeypatch.setattr("reidlab.bench.training_step", lambda asked: (
        steps.append(asked), training_step(asked))[1])
    found = bench(rounds=2)
    assert {row["what"]: (row["first"], row["second"]) for row in found}.items() >= {
        "a training step": ("without clothing match and decoupling", "with both"),
        "attention over 1024 tokens": ("exact", "linformer, 64 summaries"),
        "fusion of 19 image and 40 text tokens": ("attention_tokens", "mamba_tokens"),
        "64 captions": ("padded to 64 tokens", "padded to 100 tokens")}.items()
    bare, whole = (flatten(step.loss.weights) for step in steps)
    assert {name for name in whole if bare[name] != whole[name]} == {"cloth_match", "decouple"}
    assert bare["cloth_match"] == bare["decouple"] == 0 < whole["decouple"]
    assert all(row["ratio"] > 0 and row["first_s"] > 0 for row in found)
    assert len(markdown(found).splitlines()) == len(found) + 2
    beside = [row for row in found if "beside" in row["second"]]
    assert len(beside) == 2 and all(
        row["ratio"] == len(row["second"]) / len(row["first"]) for row in beside)


def test_both_sides_of_the_scan_in_the_bench_compute_the_same():
    generator = torch.Generator().manual_seed(0)
    decay, drive = (torch.rand(20, 3, 2, generator=generator) for _ in range(2))
    torch.testing.assert_close(step_by_step(decay, drive), linear_recurrence(decay, drive))


@pytest.mark.slow
def test_a_step_is_measured_in_a_process_with_the_spin_count_asked_for(cache):
    """Alone and beside one busy process; what a step costs is the bench's to say."""
    assert speed_of(OURS_ALONE, seconds=0.1)() > 0 < seconds_a_step("10", 1, seconds=0.1)
