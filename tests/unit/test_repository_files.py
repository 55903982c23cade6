"""What strangers look for in a repository, and whether it says the same as the package."""

from __future__ import annotations

import re
from collections import Counter
from importlib import metadata

import list_licences
import yaml
from places import REPOSITORY

import medtrain

# Of CFF 1.2.0, and what else a citation needs.
CITATION_KEYS = {"cff-version", "message", "title", "authors", "version", "license", "type"}


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation.keys() >= CITATION_KEYS
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["version"] == medtrain.__version__
    assert citation["license"] == "Apache-2.0"
    assert [author["name"] for author in citation["authors"]] == ["The medtrain developers"]


def test_the_licence_is_that_of_the_package() -> None:
    text = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text and "APPENDIX" in text
    assert 'license = "Apache-2.0"' in (REPOSITORY / "pyproject.toml").read_text()


def test_python_versions_are_those_that_pip_takes() -> None:
    """The oldest in the classifiers is the oldest that `requires-python` allows."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    least = re.search(r'requires-python = ">=([\d.]+)"', text)
    named = re.findall(r'"Programming Language :: Python :: (\d+\.\d+)"', text)
    assert least and named[0] == least.group(1)


def test_setuptools_knows_licence_expressions() -> None:
    """PEP 639: an older one refuses `license = "Apache-2.0"`, or leaves the file out."""
    text = (REPOSITORY / "pyproject.toml").read_text()
    floor = re.search(r'requires = \["setuptools>=([\d.]+)"\]', text)
    assert floor and tuple(map(int, floor.group(1).split("."))) >= (77, 0, 3)
    assert tuple(map(int, metadata.version("setuptools").split("."))) >= (77, 0, 3)


def test_the_hooks_run_the_tools_of_the_dev_extra() -> None:
    """A hook of its own version would find other faults than tests/run.sh."""
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local" and {hook["language"] for hook in local["hooks"]} == {"system"}
    tools = {hook["entry"].split()[0] for hook in local["hooks"]}
    extra = (REPOSITORY / "pyproject.toml").read_text().partition("\ndev = [")[2].partition("\n]")[0]
    pinned = (REPOSITORY / "constraints.txt").read_text()
    checks = (REPOSITORY / "tests" / "run.sh").read_text()
    for tool in tools:
        assert f'"{tool}>=' in extra and f"\n{tool}==" in pinned and f'"$bin"/{tool}' in checks, tool


def test_every_package_that_is_asked_for_has_a_licence_in_the_table() -> None:
    rows = re.findall(r"^\| (\S+) \| ([^|]+) \| ([^|]*) \|$", list_licences.FILE.read_text(), re.MULTILINE)
    told = {list_licences.plain(name): (licence, purpose) for name, licence, purpose in rows}
    project = (REPOSITORY / "pyproject.toml").read_text()
    direct = re.findall(r'^    "([\w-]+)', project.partition("\ndependencies = [")[2].partition("\n]")[0], re.MULTILINE)
    extras = re.findall(r"^(?:dicom|fast|mlflow|monai|onnx|parquet|tensorboard) = \[(.*)\]", project, re.MULTILINE)
    optional = re.findall(r'"([\w-]+)', " ".join(extras))
    assert len(direct) > 15 and len(optional) > 4
    assert {*direct} == list_licences.PURPOSES.keys() and {*optional} == list_licences.EXTRAS.keys()
    for name in (*direct, *optional):
        licence, purpose = told[list_licences.plain(name)]
        assert licence == list_licences.licence(metadata.distribution(name)) and purpose, name
    assert {"certifi", "filelock", "pillow"} <= told.keys(), "those of others too"


def test_no_two_files_of_tests_have_one_name() -> None:
    """Without `__init__.py` pytest imports a file by its last name, and refuses the second of the same."""
    names = Counter(file.name for file in (REPOSITORY / "tests").rglob("test_*.py"))
    assert not [name for name, times in names.items() if times > 1]
