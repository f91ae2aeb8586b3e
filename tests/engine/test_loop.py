"""What a run writes, for every design, and that the same seed writes it again."""
import json

import pytest

from reidlab.engine.step import TrainStep
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.losses import text_image as total
from reidlab.presets import visible_infrared
from reidlab.presets.text_image import DESIGNS
from reidlab.runs import checkpoint
from reidlab.runs.folder import RunFolder
from tests.conftest import mini
from tests.engine.conftest import rows


def test_the_run_directory_holds_what_it_should(run):
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert {"config.json", "metrics.jsonl", "report.json", "checkpoints/last.safetensors",
            "checkpoints/best.safetensors"} <= names
    assert not {n for n in names if n.endswith(".part") or n == "lock"}
    config = json.loads((run / "config.json").read_text())
    assert config["experiment"]["name"] == "corrected" and config["versions"]["torch"]
    assert [row["step"] for row in rows(run)] == list(range(1, 13))


@pytest.mark.slow
@pytest.mark.covers("R6")
def test_no_look_leaves_a_part_in_another_mode_for_the_next_step(tmp_path, data, monkeypatch):
    """Monitor and validation after every epoch, and still each step trains the same parts."""
    seen, step = [], TrainStep.__call__

    def noted(self, *given, **named):
        seen.append([part.training for part in self.model.modules()])
        return step(self, *given, **named)
    monkeypatch.setattr(TrainStep, "__call__", noted)
    train(mini("attention", training__epochs=2, training__monitor_every=1,
               training__validate_every=1), tmp_path / "run", quiet=True)
    assert len(seen) == 8 and all(modes == seen[0] for modes in seen) and True in seen[0]


@pytest.mark.covers("R6", "R8", "R10")
def test_the_log_has_every_loss_and_the_dependence_of_raw_features(run):
    log = rows(run)
    assert all({"loss/total", "loss/info_nce", "loss/cloth_match", "lr"} <= set(r) for r in log)
    seen = [r for r in log if "monitor/id_cloth_abs_cosine" in r]
    assert [r["step"] for r in seen] == [5, 10, 12]
    assert {"monitor/id_cloth_hsic", "monitor/id_cloth_cka", "gradient/visual_encoder"} <= set(
        seen[0])
    assert [r["step"] for r in log if "val/mAP" in r] == [8, 12]


@pytest.mark.slow
@pytest.mark.covers("R6", "R10")
def test_as_written_logs_eight_losses_the_gate_and_the_ramp(tmp_path, data):
    train(mini("attention", training__epochs=2), tmp_path / "run", quiet=True)
    log = rows(tmp_path / "run")
    assert {k for k in log[0] if k.startswith("loss/")} == {
        f"loss/{n}" for n in ("info_nce", "cls", "bio", "cloth", "cloth_adv", "cloth_match",
                              "decouple", "gate_regularization", "total")}
    assert any("gate/mean" in r for r in log) and "gate/image_weight" in log[0]
    assert {r["epoch"]: r["cloth_adv/strength"] for r in log} == pytest.approx({1: 0.25, 2: 0.3})
    assert {r["decouple/strength"] for r in log} == {1.0}
    assert all(r["gradient/fusion"] == 0 for r in log if "gradient/fusion" in r)


@pytest.mark.slow
@pytest.mark.covers("E17")
@pytest.mark.parametrize("name", ["baseline", *(n for n in DESIGNS if n != "corrected")])
def test_every_design_trains_is_watched_and_is_scored(tmp_path, data, name):
    report = train(mini(name, training__epochs=2, training__monitor_every=2), tmp_path / "run",
                   quiet=True)
    assert 0 < report["tables"]["test"]["same_clothes"]["text_to_image"]["r1"] < 1
    assert "monitor/id_cloth_cka" in RunFolder(tmp_path / "run").rows()[-1]


@pytest.mark.slow
@pytest.mark.covers("V4", "V14", "V27", "V30")
@pytest.mark.parametrize(("name", "changes"), [
    *((name, {}) for name in visible_infrared.DESIGNS),
    ("embednet_corrected", {"data__labelled_fraction": 0.5, "loss__clusters": 20,
                            "loss__weights__alignment": 0.1, "loss__weights__cut_mix": 0.5})])
def test_every_visible_infrared_design_trains_is_watched_and_is_scored(tmp_path, cache, name,
                                                                       changes):
    report = train(mini(name, training__epochs=2, training__monitor_every=2, **changes),
                   tmp_path / "run", quiet=True)
    found = report["tables"]["test"]
    assert set(found) == {f"{way}{more}" for way in ("infrared_to_visible", "visible_to_infrared")
                          for more in ("", "_reranked")}
    assert all(0 < row["map"] < 1 and "trials" in row["protocol"]["text"]
               for row in found.values())
    last = RunFolder(tmp_path / "run").rows()[-1]
    one_view = name == "embednet_tmhee"  # as written: no second view to be alike
    assert {"monitor/modality_gap", "val/mAP"} <= set(last)
    assert ("monitor/view_similarity" in last) != one_view
    assert {"loss/contrast"} <= set(last) if name == "embednet_corrected" else {
        "loss/cls", "loss/triplet", "loss/cpm"} <= set(last)
    assert report["macs"] > 1e6
    assert report["view_similarity"] is None if one_view else 0 <= report["view_similarity"] <= 1


@pytest.mark.covers("F10")
@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(run, tmp_path):
    train(mini(), tmp_path / "again", quiet=True)
    assert rows(tmp_path / "again") == rows(run)


def test_nan_stops_the_run_and_names_the_term(tmp_path, data, monkeypatch):
    good, calls = total.summed_scores, []

    def breaks_at_the_fifth_step(*given, **options):
        calls.append(1)
        return good(*given, **options) * (float("nan") if len(calls) == 5 else 1)

    monkeypatch.setattr(total, "summed_scores", breaks_at_the_fifth_step)
    with pytest.raises(ReidlabError, match="loss term summed_score became nan at step 4"):
        train(mini(), tmp_path / "run", quiet=True)
    for file in (tmp_path / "run").rglob("*.safetensors"):
        checkpoint.read(file)
    assert all(r["loss/total"] == r["loss/total"] for r in rows(tmp_path / "run"))


def test_a_score_that_is_no_number_is_told_and_not_logged(tmp_path):
    run = RunFolder(tmp_path)
    with pytest.raises(ReidlabError, match="at step 3 val/mAP is nan; lower training.lr"):
        run.log({"step": 3, "val/mAP": float("nan")})
    assert run.rows() == [] and not run.metrics.exists()
