"""Where cluster files are found, and what list and show tell of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medtrain.cli.commands.cluster import cluster_list, cluster_show
from medtrain.cli.commands.shards import Jobs, resources
from medtrain.cli.flags import parse_settings
from medtrain.config import cluster_files, configfile
from medtrain.config.schema import Config
from medtrain.core.errors import InputError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of $MEDTRAIN_CLUSTERS, the user's and the package's; `hippo` is in each, with another partition."""
    named = [tmp_path / "lab", tmp_path / "site"]
    monkeypatch.setenv("MEDTRAIN_CLUSTERS", ":".join(map(str, [*named, tmp_path / "absent"])) + ":")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(cluster_files, "PACKAGED", tmp_path / "package")
    for folder in (*named, tmp_path / "config" / "medtrain" / "clusters", tmp_path / "package"):
        folder.mkdir(parents=True)
        (folder / "hippo.yaml").write_text(f"partition: of-{folder.name}\n")
    return tmp_path


def test_a_name_is_looked_for_in_every_folder_in_order(places: Path) -> None:
    for folder in ("lab", "site", "config/medtrain/clusters", "package"):
        path = places / folder / "hippo.yaml"
        assert cluster_files.find("hippo") == path
        config = configfile.with_cluster(Config(), "hippo").slurm
        assert (config.partition, config.cluster) == (f"of-{path.parent.name}", "hippo")
        path.unlink()
    with pytest.raises(InputError, match="there is no cluster file hippo"):
        cluster_files.find("hippo")


def test_a_path_is_taken_as_it_is(places: Path) -> None:
    assert configfile.with_cluster(Config(), str(places / "site" / "hippo.yaml")).slurm.partition == "of-site"
    with pytest.raises(InputError, match=r"there is no cluster file other\.yaml") as caught:
        cluster_files.find("other.yaml")
    assert "there are: hippo" in caught.value.fix


def test_a_new_file_goes_to_the_first_folder_that_is_named(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_files.own_folder() == places / "lab"
    monkeypatch.setenv("MEDTRAIN_CLUSTERS", "")
    assert cluster_files.own_folder() == places / "config" / "medtrain" / "clusters"
    variables = {"HOME": str(places / "home"), "XDG_CONFIG_HOME": "relative", "MEDTRAIN_CLUSTERS": "~/lab"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cluster_files.folders()[:2] == [
        places / "home" / "lab",
        places / "home" / ".config" / "medtrain" / "clusters",
    ]


def test_what_is_missing_is_told_with_all_places_and_the_nearest_name(places: Path) -> None:
    (places / "site" / "giraffe.yaml").write_text("partition: g\n")
    with pytest.raises(InputError, match=r"girafe.yaml \(did you mean giraffe\?\)") as caught:
        configfile.with_cluster(Config(), "girafe")
    for folder in ("lab", "site", "config/medtrain/clusters", "package"):
        assert str(places / folder) in caught.value.problem
    assert caught.value.fix.startswith("there are: hippo, giraffe; write one: ")


def test_list_says_what_is_hidden_and_what_cannot_be_used(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (places / "site" / "bad.yaml").write_text("partitoin: low\n")
    (places / "lab" / "giraffe.yml").write_text("gpus_per_node: 8\naccount: zoo\n")
    cluster_list()
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[4]: line for line in lines[2 : lines.index("")]}
    assert rows[str(places / "lab" / "giraffe.yml")].split()[:4] == ["giraffe", "-", "8", "zoo"]
    hidden = f"{places}/package/hippo.yaml (hidden by {places}/lab/hippo.yaml)"
    assert rows[str(places / "package" / "hippo.yaml")].endswith(hidden)
    assert "it cannot be used" in rows[str(places / "site" / "bad.yaml")]
    cluster_list(json=True)
    told = {each["file"]: each for each in json.loads(capsys.readouterr().out)}
    assert len(told) == 6
    assert told[f"{places}/lab/giraffe.yml"] == {
        "name": "giraffe", "partition": None, "gpus_per_node": 8, "account": "zoo",
        "file": f"{places}/lab/giraffe.yml", "hidden_by": None, "error": None,
    }  # fmt: skip
    assert told[f"{places}/site/hippo.yaml"]["hidden_by"] == f"{places}/lab/hippo.yaml"
    assert "there is no setting slurm.partitoin" in told[f"{places}/site/bad.yaml"]["error"]


def test_show_prints_the_settings_and_refuses_bad_ones(places: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = places / "lab" / "hippo.yaml"
    path.write_text("partition: low\nafter: '12'\nsetup: [module load a, export B=c]\n")
    cluster_show("hippo", json=True)
    settings = {"partition": "low", "dependency": "12", "setup": ["module load a", "export B=c"]}
    assert json.loads(capsys.readouterr().out) == {"name": "hippo", "file": str(path), "settings": settings}
    cluster_show("hippo")
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"hippo: {path}"
    assert shown[-2:] == ["setup       module load a", "            export B=c"]
    for text, said in {
        "gpus_per_node: many\n": "slurm.gpus_per_node is 'many'",
        "time: soon\n": "time is 'soon'",
        "slurm:\n  nodes: 2\n": "there is no setting slurm.slurm",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            cluster_show("hippo")
        assert said in caught.value.problem and str(path) in caught.value.problem


def test_a_job_that_packs_gets_the_memory_of_one_rank(places: Path) -> None:
    """The whole node's would keep its GPUs from others."""
    (places / "lab" / "hippo.yaml").write_text("gpus_per_node: 4\ncpus_per_task: 12\nmem_gb: 500\nnodes: 2\n")
    asked = resources(Jobs(cluster="hippo"))
    assert (asked.nodes, asked.gpus_per_node, asked.cpus_per_task, asked.mem_gb) == (1, 0, 12, 125)
    assert resources(Jobs(cluster="hippo", mem_gb=8)).mem_gb == 8


def test_a_run_does_without_the_file_that_its_settings_came_from(places: Path, tmp_path: Path) -> None:
    """It is read again only where it is named again."""
    config, _ = parse_settings("submit", ["demo", "--shards", "s", "--run", "first", "--cluster", "hippo"])
    assert config.slurm.partition == "of-lab"
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    configfile.save(config, run / "config.yaml")
    words = ["first", "--runs", str(run.parent)]
    (places / "lab" / "hippo.yaml").write_text("partition: new\n")
    assert parse_settings("resume", words)[0].slurm.partition == "of-lab"
    assert parse_settings("resume", [*words, "--cluster", "hippo"])[0].slurm.partition == "new"
    assert parse_settings("resume", [*words, "--cluster", "hippo", "--partition", "p"])[0].slurm.partition == "p"
    for path in places.rglob("hippo.yaml"):
        path.unlink()
    config, _ = parse_settings("resume", words)
    assert (config.slurm.partition, config.slurm.cluster) == ("of-lab", "hippo")
    with pytest.raises(InputError, match="there is no cluster file hippo"):
        parse_settings("resume", [*words, "--cluster", "hippo"])
    assert parse_settings("resume", [*words, "--cluster", ""])[0].slurm.partition == "of-lab"
