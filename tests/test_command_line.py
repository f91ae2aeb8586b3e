"""The command line as a user meets it: exit status, one line, one JSON object."""
import json
import shutil
import subprocess
import sys
import typing

import pytest

from reidlab.__main__ import _experiment, main, parser
from reidlab.config import Disentangle, Expansion, Fusion, Heads, Stages, Text, flatten
from reidlab.config.changes import change, to_dict
from reidlab.config.text_image import Loss
from reidlab.disentangle import DISENTANGLERS
from reidlab.encoders.pooling import POOLINGS
from reidlab.errors import ReidlabError
from reidlab.expansion import EXPANSIONS
from reidlab.files import write_json
from reidlab.fusion import FUSIONS, TOKEN_FUSIONS
from reidlab.losses.decoupling import DECOUPLERS
from reidlab.models.heads import HEADS
from reidlab.models.necks import NECKS
from reidlab.presets import preset
from tests.conftest import MINI, mini


def failing(capsys, *arguments):
    """The single error line of a command that must end with status 2."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("reidlab: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(("arguments", "says"), [
    (["train", "best"], "unknown preset 'best'"),
    (["train", "corrected", "--size", "huge"], "unknown size"),
    (["train", "corrected", "--set", "training.lrr=1"], "near matches: training.lr"),
    (["train", "corrected", "--set", "training.lr"], "part.field=value"),
    (["train", "corrected", "--data", "cuhk-pedes:/no/such"], "no data folder"),
    (["train", "corrected", "--data", "imagenet"], "known: synthetic"),
])
def test_wrong_training_requests(capsys, tmp_path, arguments, says):
    assert says in failing(capsys, *arguments, "--run", str(tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("change", [
    "seed=3", "name=x", "size=base", "data.source=drawn", "=3", "training.lr"])
def test_what_has_an_option_of_its_own_is_not_set_twice(capsys, tmp_path, change):
    for command in (["train", "corrected", "--run"], ["compare", "corrected", "--out"],
                    ["sweep", "corrected", "loss.temperature=0.1", "--out"]):
        err = failing(capsys, *command, str(tmp_path / "x"), "--set", change)
        assert "use --" in err or "named by its preset" in err or "part.field=value" in err
    assert "use --seed" in failing(capsys, "sweep", "corrected", "seed=0,1", "--out",
                                   str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments", [
    [], ["trian"], ["train", "corrected"], ["train", "corrected", "--run"],
    ["bench", "--rounds", "x"], ["search"], ["data"],
    ["train", "corrected", "--run", "x", "--what"],
    ["train", "corrected", "--run", "x", "--seed", "1.5"]])
def test_a_command_that_argparse_refuses_is_one_line_too(capsys, arguments):
    assert "--help" in failing(capsys, *arguments)


@pytest.mark.parametrize(("path", "says"), [("", "is empty"), ("x" * 300, "no usable path"),
                                            ("a\0b", "no usable path"), ("\udcff", "no text")])
def test_a_path_that_no_file_system_can_hold_is_one_line(capsys, path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["train", "corrected", "--run"], ["compare", "corrected", "--out"],
                    ["sweep", "corrected", "training.lr=1", "--out"], ["evaluate"],
                    ["search", "run", "a coat", "--gallery"], ["search", "run", "a coat", "--draw"],
                    ["data", "export"], ["data", "check"], ["run"]):
        assert says in failing(capsys, *command, path)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_all_zero_are_refused():
    for design in ("corrected", "embednet_corrected"):
        weights = {name: 0.0 for name in flatten(preset(design)) if name.startswith("loss.weights")}
        with pytest.raises(ReidlabError, match="every weight in loss.weights is 0"):
            change(preset(design), weights)


def test_a_batch_too_small_for_an_unbiased_measure_is_refused():
    with pytest.raises(ReidlabError, match="training.batch_size is 2; .* needs at least 4"):
        preset("corrected", training__batch_size=2, data__images_per_person=2,
               loss__weights__decouple=1.0)


def test_the_merged_split_keeps_the_width_that_its_note_gives_it():
    with pytest.raises(ReidlabError, match="heads.embedding is 16; the merged split"):
        preset("merged", heads__embedding=16)


def test_a_damaged_report_is_one_line(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    fields = [f"--set={k}={v}" for k, v in MINI.items()]
    for damage in ("[]", "{}", '{"tables": 5}', '{"tables": {"test": 1e400}}', "\udcff"):
        (tmp_path / "run" / "report.json").write_bytes(damage.encode(errors="surrogateescape"))
        assert "report" in failing(capsys, "train", "corrected", "--run", str(tmp_path / "run"),
                                   *fields)


def test_help_is_no_error(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--help"])
    assert ended.value.code == 0 and "--set" in capsys.readouterr().out


def numbers():
    """Every field of both tasks that holds a number, with the design that has it."""
    for design in ("corrected", "embednet_corrected"):
        for name, value in flatten(preset(design)).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield design, name


@pytest.mark.parametrize("value", ["-1000000000", "1e30", "nan", "inf", "", "many"])
def test_a_nonsense_value_of_any_number_is_refused_with_field_value_and_range(value):
    for design, name in numbers():
        with pytest.raises(ReidlabError) as refused:
            change(preset(design), {name: value})
        assert name in str(refused.value), (name, str(refused.value))
        assert any(word in str(refused.value) for word in ("at least", "takes", "known:"))


def test_an_unknown_name_in_any_field_of_names_is_refused_with_the_known_ones():
    for design in ("corrected", "embednet_corrected"):
        for name, value in flatten(preset(design)).items():
            if isinstance(value, str) and not name.endswith(
                    ("name", "size", "data.source", ".pretrained")):
                with pytest.raises(ReidlabError, match=f"{name} is 'best'; known: .*{value}"):
                    change(preset(design), {name: "best"})


def test_fields_that_only_fit_together_can_be_changed_together():
    both = {"disentangle.name": "merged", "heads.name": "merged"}
    assert change(preset("projection"), both).heads.name == "merged"
    with pytest.raises(ReidlabError, match="together or not at all"):
        change(preset("projection"), {"disentangle.name": "merged"})


@pytest.mark.parametrize("term", ["gate_regularization", "gate_smoothing", "fusion_gate",
                                  "itm"])
def test_a_term_that_a_design_cannot_compute_is_refused_naming_both_fields(term):
    with pytest.raises(ReidlabError, match=rf"loss.weights.{term} is 1.0, but corrected has"):
        preset("corrected", **{f"loss__weights__{term}": 1.0})


def test_choices_in_the_config_are_the_registered_parts():
    def known(config, field):
        return set(typing.get_args(typing.get_type_hints(config)[field]))

    assert known(Disentangle, "name") == set(DISENTANGLERS)
    assert known(Text, "pooling") == set(POOLINGS)
    assert known(Disentangle, "pooling") == set(POOLINGS) - {"last"}  # no patch ends a picture
    assert known(Fusion, "name") == {"none", *FUSIONS, *TOKEN_FUSIONS}
    assert known(Heads, "name") == set(HEADS)
    assert known(Loss, "decouple") == set(DECOUPLERS)
    assert known(Stages, "neck") == set(NECKS)
    assert known(Expansion, "name") == {"none", *EXPANSIONS}


def test_runs_that_are_none(capsys, tmp_path):
    assert "is no run" in failing(capsys, "evaluate", str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert "is no readable JSON" in failing(capsys, "evaluate", str(tmp_path))
    (tmp_path / "config.json").write_text('{"experiment": {"name": "x"}}')
    assert "missing field" in failing(capsys, "search", str(tmp_path), "a man")


def test_base_size_without_weights_says_how_to_get_them(capsys, tmp_path):
    folder = str(tmp_path / "none")
    err = failing(capsys, "train", "corrected", "--size", "base", "--run", str(tmp_path / "run"),
                  "--set", f"image.pretrained={folder}", "--set", f"text.pretrained={folder}",
                  "--set", "data.people=4", "--set", "data.val_people=2",
                  "--set", "data.test_people=2", "--set", "training.batch_size=8",
                  "--set", "image.height=32", "--set", "image.width=32")
    assert folder in err and "download" in err and "hub id" in err


def test_search_prints_and_draws(run, capsys, tmp_path):
    picture = tmp_path / "hits.png"
    text = "A tall man with red hair, wearing a blue coat."
    assert main(["search", str(run), text, "-k", "3", "--draw", str(picture), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = [hit["score"] for hit in found["hits"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)
    assert all(hit["score"] == pytest.approx(hit["id_score"] + hit["cloth_score"], abs=1e-5)
               for hit in found["hits"])
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_search_in_any_folder_of_pictures(run, data, tmp_path, capsys):
    from PIL import Image
    for k in range(5):
        Image.fromarray(data.test.images[k]).save(tmp_path / f"{k}.png")
    assert main(["search", str(run), "a woman in a red coat", "--gallery", str(tmp_path),
                 "--draw", str(tmp_path / "out.png")]) == 0
    assert ".png" in capsys.readouterr().out
    for text, says in (("", "description is empty"), ("qqq", "nothing in 'qqq'")):
        assert says in failing(capsys, "search", str(run), text)
    assert "no pictures" in failing(capsys, "search", str(run), "a man", "--gallery",
                                    str(tmp_path / "none"))


def test_export(tmp_path, capsys):
    folder = tmp_path / "out"
    assert main(["data", "export", str(folder), "--people", "2", "--held-out", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 72
    assert (folder / "reid_raw.json").exists()
    assert "is not empty" in failing(capsys, "data", "export", str(folder), "--people", "2")
    assert "HEIGHTxWIDTH" in failing(capsys, "data", "export", str(tmp_path / "x"), "--picture",
                                     "big")
    assert "known: cuhk-pedes" in failing(capsys, "data", "export", str(tmp_path / "x"),
                                          "--layout", "market")


def test_search_pictures_of_any_description_and_no_more_hits_than_there_are(run, capsys, tmp_path):
    for text in ("a man in a $x_$ coat", "a red coat " * 5000, "a man\nin a coat", "a \ud800 coat"):
        assert main(["search", str(run), text, "-k", "2", "--draw", str(tmp_path / "x.png")]) == 0
    capsys.readouterr()
    assert main(["search", str(run), "a man in a coat", "-k", "144", "--json",
                 "--draw", str(tmp_path / "all.png")]) == 0
    assert len(json.loads(capsys.readouterr().out)["hits"]) == 144
    assert "k is 145; the gallery has 144 pictures: ask for 1 to 144" in failing(
        capsys, "search", str(run), "a man in a coat", "-k", "145")
    for k in ("0", "-1"):
        assert "at least 1" in failing(capsys, "search", str(run), "a coat", "-k", k)
    assert "it is a folder; name a file" in failing(
        capsys, "search", str(run), "a man in a coat", "--draw", str(tmp_path))


@pytest.mark.covers("R18")
def test_doctor_says_what_is_here_without_mamba_ssm_or_cuda(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "scan" in out and "torch" in out and "attention" in out
    assert "threads wait" in out and "SPINCOUNT" in out


@pytest.mark.covers("R18")
def test_the_package_starts_as_a_module_and_imports_without_mamba_ssm():
    code = ("import sys; sys.modules['mamba_ssm'] = None; import reidlab; "
            "model = reidlab.build(reidlab.preset('attention'), 4); "
            "print(type(model.fusion.layers[0]).__module__)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "reidlab.fusion.selective_scan", done.stderr
    done = subprocess.run([sys.executable, "-m", "reidlab", "train", "x", "--run", "y"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_config_file_stands_for_a_preset(tmp_path, capsys):
    """A run can be repeated from its own config.json, with changes."""
    asked = mini("attention", training__lr=0.5)
    file = tmp_path / "config.json"
    write_json(file, {"experiment": to_dict(asked), "data": "0123"})
    options = ["train", str(file), "--run", str(tmp_path / "run")]
    assert _experiment(parser().parse_args(options)) == asked
    changed = _experiment(parser().parse_args([*options, "--seed", "5", "--set",
                                               "training.epochs=7"]))
    assert changed == change(asked, {"seed": 5, "training.epochs": 7})
    assert "--size is part of" in failing(capsys, *options, "--size", "small")
    assert "no file" in failing(capsys, "train", str(tmp_path / "none.json"), "--run", "run")
