"""The command line as a user meets it: exit status, one line, one JSON object."""
import json
import subprocess
import sys

import pytest

from reidlab.__main__ import main


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
    (["train", "corrected", "--data", "imagenet"], "known: drawn"),
])
def test_wrong_training_requests(capsys, tmp_path, arguments, says):
    assert says in failing(capsys, *arguments, "--run", str(tmp_path / "run"))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_runs_that_are_none(capsys, tmp_path):
    assert "is no run" in failing(capsys, "evaluate", str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read as a run's config" in failing(capsys, "evaluate", str(tmp_path))
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


@pytest.mark.covers("R18")
def test_doctor_says_what_is_here_without_mamba_ssm_or_cuda(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "scan" in out and "torch" in out and "attention" in out


@pytest.mark.covers("R18")
def test_the_package_starts_as_a_module_and_imports_without_mamba_ssm():
    code = ("import sys; sys.modules['mamba_ssm'] = None; import reidlab; "
            "print(reidlab.preset('corrected').name)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "corrected", done.stderr
    done = subprocess.run([sys.executable, "-m", "reidlab", "train", "x", "--run", "y"],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
