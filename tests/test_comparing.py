"""Comparisons and sweeps: resumable, complete, honest about their spread."""
import json

import pytest

from reidlab.__main__ import main
from reidlab.bench import bench, markdown
from reidlab.comparing import TEXT_IMAGE, VISIBLE_INFRARED, compare, summarise
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder
from reidlab.sweeping import sweep
from tests.conftest import MINI

SHORT = {**MINI, "training.epochs": 1, "training.batches_per_epoch": 2}
FIELDS = {k.replace(".", "__"): v for k, v in SHORT.items()}


def fake(value, **more):
    scores = {"r1": value, "map": value, "lure_rate": 0.1}
    return {"tables": {"test": {"as_dressed": {"text_to_image": scores}}},
            "parameters": 2_000_000, **more}


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


@pytest.mark.slow
@pytest.mark.covers("R9", "D13", "L16")
def test_a_comparison_trains_what_is_missing_and_writes_table_and_figure(tmp_path, cache):
    table = compare(["projection", "corrected"], [0, 1], tmp_path, changes=FIELDS, at_once=2)
    assert set(table["designs"]) == {"projection", "corrected"} and table["seeds"] == [0, 1]
    measured = set(table["designs"]["corrected"])
    assert measured == set(TEXT_IMAGE) - {"R1 re-ranked"}
    assert (tmp_path / "comparison.svg").exists()
    text = (tmp_path / "table.md").read_text()
    assert "| R1 text → image |" in text and "A against A" in text
    before = (tmp_path / "corrected-seed1" / "metrics.jsonl").read_bytes()
    again = compare(["projection", "corrected"], [0, 1], tmp_path, changes=FIELDS)
    assert again["designs"] == json.loads(json.dumps(table["designs"]))
    assert (tmp_path / "corrected-seed1" / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.covers("F10", "L12")
def test_a_sweep_is_resumable_and_names_the_best_on_val(tmp_path, cache, capsys):
    grid = {"disentangle.heads": ["2", "4"], "loss.temperature": ["0.05", "0.1"]}
    found = sweep("corrected", grid, tmp_path, changes=FIELDS, at_once=2)
    assert [(r["disentangle.heads"], r["loss.temperature"]) for r in found["rows"]] == [
        ("2", "0.05"), ("2", "0.1"), ("4", "0.05"), ("4", "0.1")]
    assert found["best"]["val_map"] == max(r["val_map"] for r in found["rows"])
    assert RunFolder(tmp_path / "heads=2_temperature=0.1").experiment().disentangle.heads == 2
    again = sweep("corrected", grid, tmp_path, changes=FIELDS)
    assert again["rows"] == found["rows"]
    assert main(["sweep", "corrected", "loss.temperature", "--out", str(tmp_path)]) == 2
    assert "part.field=value,value" in capsys.readouterr().err


PAIRS = {"data.people": 16, "data.val_people": 6, "data.test_people": 6, "data.shots": 2,
         "training.epochs": 1, "training.batches_per_epoch": 3, "training.batch_size": 16,
         "training.monitor_every": 2, "training.validate_every": 1}


@pytest.mark.slow
@pytest.mark.covers("V10", "V28", "V14", "V31")
def test_visible_infrared_designs_stand_in_a_table_of_their_own(tmp_path, cache):
    fields = {k.replace(".", "__"): v for k, v in PAIRS.items()}
    table = compare(["deen", "embednet", "embednet_corrected"], [0], tmp_path, changes=fields,
                    at_once=2)
    assert all(set(scores) == set(VISIBLE_INFRARED) for scores in table["designs"].values())
    costs = {name: scores["multiply-adds (M)"]["mean"] for name, scores in table["designs"].items()}
    assert costs["embednet"] > costs["embednet_corrected"] > 1  # the picture is embedded once
    assert "| R1 infrared → visible |" in (tmp_path / "table.md").read_text()
    found = sweep("embednet_corrected", {"expansion.heads": ["2", "4"]}, tmp_path / "heads",
                  changes=fields, at_once=2)
    assert {"val_map", "test_r1", "test_minp", "view_similarity"} <= set(found["best"])


def test_two_systems_do_not_stand_in_one_table(tmp_path):
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
def test_the_bench_reports_ratios_and_asserts_no_time(cache):
    found = bench(rounds=2)
    assert {row["what"].split()[0] for row in found} >= {"a", "attention", "fusion", "64", "50"}
    assert all(row["ratio"] > 0 and row["first_s"] > 0 for row in found)
    assert len(markdown(found).splitlines()) == len(found) + 2
