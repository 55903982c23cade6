"""launch.rank_command: the command lines of container runtimes, word by word, and what is wrong said before a start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from medtrain.config.schema import Config, SlurmConfig
from medtrain.core.errors import InputError, MachineError
from medtrain.launch import rank_command as module
from medtrain.launch.rank_command import BINDS, binds, contained, rank_command
from medtrain.runs.run import Run

RANK = ["python3", "-c", "START", "/runs/a/code", "medtrain.launch.rank_main", "/runs/a"]
BOUND = ["/runs/a", "/shards", "/data:/data:ro"]


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name in ("SLURM_GPUS_ON_NODE", "XDG_CACHE_HOME", *module.CACHES):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "train.sif").touch()
    return str(tmp_path / "train.sif")


def test_apptainer(image: str) -> None:
    for runtime in ("apptainer", "singularity"):
        slurm = SlurmConfig(container="train.sif", container_runtime=runtime)
        made = contained(slurm, RANK, BOUND)
        assert made.words == [runtime, "exec", "--bind", "/runs/a,/shards,/data:/data:ro", image, *RANK]
        assert (made.srun, made.environment) == ([], {}), "a file needs no cache"


def test_apptainer_where_gpus_are(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = SlurmConfig(container=image, container_runtime="apptainer", gpus_per_node=4)
    assert contained(asked, RANK, BOUND).words[4:6] == ["--nv", image]
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "2")  # by --gres, which no setting knows
    given = SlurmConfig(container=image, container_runtime="apptainer")
    assert contained(given, RANK, BOUND).words[4:6] == ["--nv", image]


def test_an_image_of_a_registry_has_a_cache(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = SlurmConfig(container="docker://example/train:1", container_runtime="apptainer")
    made = contained(slurm, RANK, BOUND)
    cache = str(Path.cwd() / ".cache" / "medtrain" / "containers")
    assert made.words[4] == "docker://example/train:1"
    assert made.environment == {"APPTAINER_CACHEDIR": cache, "SINGULARITY_CACHEDIR": cache}
    monkeypatch.setenv("APPTAINER_CACHEDIR", "/scratch/me")
    assert contained(slurm, RANK, BOUND).environment == {}, "the user's own"


def test_pyxis_takes_options_of_srun(image: str) -> None:
    made = contained(SlurmConfig(container="nvcr.io#nvidia/pytorch:25.01", container_runtime="pyxis"), RANK, BOUND)
    assert made.srun == [
        "--container-image=nvcr.io#nvidia/pytorch:25.01",
        "--container-mounts=/runs/a:/runs/a,/shards:/shards,/data:/data:ro",
    ]
    assert made.words == RANK
    file = contained(SlurmConfig(container="train.sif", container_runtime="pyxis"), RANK, BOUND)
    assert file.srun[0] == f"--container-image={image}", "a relative path would be looked for in the rank's folder"


def test_edf_files(image: str) -> None:
    Path("train.toml").touch()
    made = contained(SlurmConfig(container="train.toml"), RANK, BOUND)
    assert (made.srun, made.words) == ([f"--environment={Path.cwd()}/train.toml"], RANK)
    named = contained(SlurmConfig(container="ngc-pytorch", container_runtime="edf"), RANK, BOUND)
    assert named.srun == ["--environment=ngc-pytorch"], "one of the user's EDF search path"


def test_a_program_of_the_site(image: str) -> None:
    made = contained(SlurmConfig(container=image, container_runtime="/bin/true"), RANK, BOUND)
    assert made.words == ["/bin/true", image, *RANK]
    assert made.environment == {BINDS: "\n".join(BOUND)}


def test_what_is_wrong_is_said(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"container is /gone\.sif, and there is no such file"):
        contained(SlurmConfig(container="/gone.sif", container_runtime="apptainer"), RANK, BOUND)
    with pytest.raises(MachineError, match="container_runtime is /no/program, and there is no such program"):
        contained(SlurmConfig(container=image, container_runtime="/no/program"), RANK, BOUND)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MachineError, match="neither apptainer nor singularity is found"):
        contained(SlurmConfig(container=image), RANK, BOUND)


def test_what_a_rank_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing twice, nothing that is not there, and the user's own last."""
    (tmp_path / "run" / "code").mkdir(parents=True)
    (tmp_path / "shards").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    config = Config()
    object.__setattr__(config.data, "shards", str(tmp_path / "shards"))
    object.__setattr__(config, "slurm", SlurmConfig(container_binds=("/data:/data:ro",)))
    assert binds(Run(tmp_path / "run"), config) == [f"{tmp_path}/run", f"{tmp_path}/shards", "/data:/data:ro"]


def test_without_a_container_nothing_changes_and_with_one_it_needs_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    config = Config()
    assert rank_command(Run(tmp_path), config).words[0] == sys.executable
    object.__setattr__(config, "slurm", SlurmConfig(container="train.sif"))
    with pytest.raises(InputError, match="containers are for ranks that srun starts"):
        rank_command(Run(tmp_path), config)
