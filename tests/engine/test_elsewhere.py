"""Any run on any data; training by labels alone; RegDB's splits in place of seeds."""
import json
from types import SimpleNamespace

import pytest

from reidlab.__main__ import main
from reidlab.data.exporting import export_synthetic
from reidlab.engine.compare import compare
from reidlab.engine.evaluate import evaluate_elsewhere
from reidlab.engine.train import train
from reidlab.errors import ReidlabError
from reidlab.runs.folder import RunFolder
from reidlab.tasks.text_image import TextImageTraining
from tests.conftest import mini


@pytest.fixture(scope="module")
def folders(tmp_path_factory, cache):
    root = tmp_path_factory.mktemp("folders")
    for name in ("prcc", "ltcc", "folder"):
        export_synthetic(root / name, name, (96, 48), 24, 10, 4)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prcc", "ltcc", "folder"])
def test_people_in_several_outfits_train_and_score_without_captions(name, folders, tmp_path):
    report = train(mini("clothes_changing", data__source=f"{name}:{folders / name}",
                        training__batch_size=16), tmp_path / "run", quiet=True)
    found = report["outfits"]["test"]
    assert set(found) == ({"same_clothes", "clothes_changing", "same_clothes_single_shot",
                           "clothes_changing_single_shot"} if name == "prcc" else
                          {"general", "same_clothes", "clothes_changing"})
    for table in found.values():
        assert {"r1", "r20", "map", "chance", "protocol", "queries", "skipped"} <= set(table)
    assert bool(report["tables"]["test"]) == (name == "folder")  # which alone has captions
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text(
        ).splitlines()]
    assert all(f"loss/{term}" in rows[0] for term in ("cls", "id_image", "cloth_image"))
    assert any("val/mAP" in row for row in rows)


@pytest.mark.slow
def test_a_run_is_scored_on_other_data_and_its_own_report_stays(run, folders, capsys):
    before = (run / "report.json").read_bytes()
    report, file = evaluate_elsewhere(run, f"ltcc:{folders / 'ltcc'}")
    assert report["trained_on"] == "synthetic" and report["data"].startswith("ltcc:/")
    assert set(report["outfits"]["test"]) == {"general", "same_clothes", "clothes_changing"}
    assert json.loads(file.read_text())["fingerprint"] == report["fingerprint"]
    assert main(["evaluate", str(run), "--data", f"folder:{folders / 'folder'}"]) == 0
    shown = capsys.readouterr().out
    assert "same clothes, text → image" in shown and "image → image, clothes-changing" in shown
    assert len(list((run / "reports").iterdir())) == 2
    assert (run / "report.json").read_bytes() == before
    for source, said in (("regdb:x", "unknown data 'regdb:.*; known: synthetic, cuhk-pedes:DIR"),
                         ("ltcc:nowhere", "no data folder")):
        with pytest.raises(ReidlabError, match=said):
            evaluate_elsewhere(run, source)
    assert len(list((run / "reports").iterdir())) == 2


def test_a_design_that_reads_words_is_refused_where_there_are_none(folders, tmp_path):
    with pytest.raises(ReidlabError, match="no captions in train and val and test, which"):
        train(mini(data__source=f"prcc:{folders / 'prcc'}", training__batch_size=16),
              tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_splits_of_regdb_take_the_place_of_seeds(run, tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("reidlab.engine.compare.train_all",
                        lambda runs, at_once, on_progress: asked.update(runs))
    monkeypatch.setattr("reidlab.engine.compare.report_of", lambda folder: (
        json.loads((run / "report.json").read_text()) | {"task": "visible-infrared", "steps": 1,
                                                         "parameters": int(folder.name[-1])}))
    monkeypatch.setattr(RunFolder, "experiment", lambda self: asked[self.path.name][0])
    monkeypatch.setattr("reidlab.engine.compare.comparison_figure", lambda *given: None)
    monkeypatch.setattr("reidlab.engine.compare.save_figure", lambda *given, **more: None)
    changes = {"data__source": "regdb:somewhere"}
    table = compare(["embednet_corrected"], [7], tmp_path / "out", changes=changes, trials=[2, 5])
    assert list(asked) == ["embednet_corrected-split2", "embednet_corrected-split5"]
    assert [(e.data.trial, e.seed) for e, _ in asked.values()] == [(2, 7), (5, 7)]
    assert table["designs"]["embednet_corrected"]["parameters (M)"]["values"] == [2e-6, 5e-6]
    assert table["trials"] == [2, 5]
    with pytest.raises(ReidlabError, match="splits in place of seeds are of regdb"):
        compare(["embednet_corrected"], [0], tmp_path / "no", trials=[1, 2])
    with pytest.raises(ReidlabError, match="at least one split, and none twice"):
        compare(["embednet_corrected"], [0], tmp_path / "no", trials=[1, 1], changes=changes)


def test_a_checkpoint_is_chosen_by_people_in_other_clothes(monkeypatch):
    task = TextImageTraining.__new__(TextImageTraining)
    task.data = SimpleNamespace(source="prcc:DIR")
    scores = {"same_clothes": 0.9, "clothes_changing": 0.2, "general": 0.5}
    tables = {name: dict.fromkeys(("r1", "r5", "map", "minp"), value)
              for name, value in scores.items()}
    monkeypatch.setattr("reidlab.tasks.text_image.outfit_tables", lambda found, source: tables)
    assert task._by_pictures(None) == dict.fromkeys(
        ("val/R1", "val/R5", "val/mAP", "val/mINP"), 0.2)
    del tables["clothes_changing"]  # everybody wears one outfit
    assert task._by_pictures(None)["val/mAP"] == 0.9
    tables.clear()
    with pytest.raises(ReidlabError, match="has no val person in two pictures, by which"):
        task._by_pictures(None)


@pytest.mark.slow
def test_a_template_alone_is_enough_to_train_and_score_by_pictures(folders, tmp_path, cache):
    for n, file in enumerate(sorted((folders / "prcc" / "rgb" / "train").rglob("*.jpg"))[:160]):
        person = tmp_path / "own" / file.parent.name
        person.mkdir(parents=True, exist_ok=True)
        (person / f"{n}.jpg").write_bytes(file.read_bytes())
    assert main(["data", "template", str(tmp_path / "own")]) == 0
    experiment = mini("clothes_changing", data__source=f"folder:{tmp_path / 'own'}",
                      training__batch_size=16)
    report = train(experiment, tmp_path / "run", quiet=True)
    assert set(report["outfits"]["test"]) == {"general"}  # nothing says who wears what
    rows = RunFolder(tmp_path / "run").rows()
    assert rows and not any("concept_erasure/directions" in row for row in rows)


def test_pictures_without_captions_ask_nothing_and_a_split_without_any_is_refused(
        run, folders, tmp_path):
    lines = [json.loads(line) for line in (folders / "folder" / "people.jsonl").read_text(
        ).splitlines()]
    some = [line if line["split"] == "train" or n % 3 == 0 else
            {k: v for k, v in line.items() if k != "captions"} for n, line in enumerate(lines)]
    listed = folders / "folder" / "people.jsonl"
    whole = listed.read_text()
    try:
        listed.write_text("".join(json.dumps(line) + "\n" for line in some))
        report, _ = evaluate_elsewhere(run, f"folder:{folders / 'folder'}")
        asked = report["tables"]["test"]["same_clothes"]["text_to_image"]["queries"]
        first: dict = {}  # outfit of each person's first picture, in which one is asked for
        assert asked == sum("captions" in line for line in some if line["split"] == "test"
                            and first.setdefault(line["person"], line["outfit"]) == line["outfit"])
        none = [{k: v for k, v in line.items() if k != "captions" or line["split"] != "val"}
                for line in lines]
        listed.write_text("".join(json.dumps(line) + "\n" for line in none))
        with pytest.raises(ReidlabError, match="has no captions in val, which corrected reads"):
            train(mini(data__source=f"folder:{folders / 'folder'}", training__batch_size=16),
                  tmp_path / "run", quiet=True)
    finally:
        listed.write_text(whole)
