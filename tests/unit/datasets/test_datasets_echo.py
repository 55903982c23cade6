"""Clips of one's own: what a table and the files say, and what is said of a table that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from echo_tables import NAME, clip, table

from medtrain import datasets
from medtrain.cli.commands import check as cli_commands_check
from medtrain.cli.commands import data as cli_commands_data
from medtrain.cli.commands.shards import shard
from medtrain.core.errors import InputError
from medtrain.core.jsonfiles import read_json, write_json
from medtrain.datasets.record import Record
from medtrain.datasets.sources import echo
from medtrain.shards.pack_request import Request
from medtrain.shards.plan import PackOptions


def read(root: Path, *lines: str, head: str = "video_path,quality_score") -> list[Record]:
    return echo.records(root, table(root, *lines, head=head))


def faults(root: Path, *lines: str, head: str = "video_path,quality_score") -> list[str]:
    """What is said, line by line, without the first, which says of which table."""
    with pytest.raises(InputError) as caught:
        read(root, *lines, head=head)
    assert NAME not in caught.value.problem + caught.value.fix
    return [line.strip() for line in caught.value.problem.splitlines()[1:]]


def test_a_table_as_people_write_them(tmp_path: Path) -> None:
    clip(tmp_path / "sub" / f"{NAME}.dcm", "0815", "1.2.3")
    (tmp_path / "t.csv").write_bytes(
        b"\xef\xbb\xbfView,Quality_Score ,VIDEO_PATH,Patient,Split,graded by\r\n\r\n"
        b"a4c,0.7,sub/Jane^Doe.dcm,P1,TRAIN,Dr. X\r\n"
        b'PSAX-AV,,"gone, by now.mp4",P1,,\r\n'
        b"Mrs Doe,0.2,other.avi,,Test\r\n"
    )
    first, second, third = echo.records(tmp_path, tmp_path / "t.csv")
    assert first == Record(
        "echo", "line 3", tmp_path / "sub" / f"{NAME}.dcm", {"good": 1}, "P1", "1.2.3", "train",
        {"quality_score": 0.7}, {"view": "A4C"},
    )  # fmt: skip
    assert second == Record(
        "echo", "line 4", tmp_path / "gone, by now.mp4", {"good": None}, "P1", "", "",
        {"quality_score": None}, {"view": "PSAX"},
    )  # fmt: skip
    assert (third.image, third.split, third.labels, third.meta) == ("line 5", "test", {"good": 0}, {"view": "other"})


@pytest.mark.parametrize(
    ("scores", "labels", "kind"),
    [
        (("0", "1", "1.0", ""), [0, 1, 1, None], "binary"),
        (("0", "0.49", "0.5", "1"), [0, 0, 1, 1], "share"),
        (("1", "0", "5", ""), [None] * 4, "other"),
        (("-0.1", "1e0", "0.5", "0"), [None] * 4, "other"),
    ],
)
def test_a_clip_is_good_from_a_half_on_where_all_scores_are_shares(
    tmp_path: Path, scores: tuple[str, ...], labels: list[int | None], kind: str
) -> None:
    records = read(tmp_path, *(f"{i}.mp4,{score}" for i, score in enumerate(scores)))
    assert [record.labels["good"] for record in records] == labels
    assert [record.raw["quality_score"] for record in records] == [float(score) if score else None for score in scores]
    about = echo.about(tmp_path, records)
    assert about["scores"]["kind"] == kind and about["scores"]["unknown"] == scores.count("")
    assert ("unknown: no clip" in echo.told(about)) == (kind == "other")
    json.dumps(about, allow_nan=False)


def test_all_that_is_wrong_is_told_at_once_by_line_and_without_a_cell(tmp_path: Path) -> None:
    (tmp_path / "both.dcm").touch()
    (tmp_path / "both.MP4").touch()
    found = faults(
        tmp_path, f"{NAME}.mp4,{NAME},train", ",0.5,", "x.mp4,nan,", "x.mp4,0.5,holdout", "../up.mp4,0.5,", "y.mp4",
        "", "z.mp4,0.5,,,0.5", "both,1,", "same.mp4,1,", "./sub/../same.mp4,0,", "q.mp4,1_0,", "/etc/passwd,1,",
        head="video_path,quality_score,split",
    )  # fmt: skip
    assert [line.partition(":")[0] for line in found[:10]] == [f"line {n}" for n in (2, 3, 4, 5, 6, 7, 9, 10, 12, 13)]
    assert found[10] == "and 1 more"
    for line, words in zip(
        found,
        (
            "quality_score is no number", "has no video_path", "is no number", "is none of train, val, test",
            "lies outside of --root", "ends before quality_score", "more cells than the first line",
            "fits 2 files: write its suffix", "the same clip as line 11", "is no number",
        ),
        strict=False,
    ):  # fmt: skip
        assert words in line


def test_a_table_without_the_columns(tmp_path: Path) -> None:
    for head, words in (
        ("video_path,score", "does not name the column quality_score"),
        (f"{NAME}.mp4,1", "does not name the column video_path and quality_score"),
        ("video_path,quality_score,Quality_Score", "has the column quality_score twice"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read(tmp_path, "x.mp4,1", head=head)
        assert NAME not in caught.value.problem
    with pytest.raises(InputError, match="has no row below its first line"):
        read(tmp_path)
    with pytest.raises(InputError, match="is no file"):
        echo.records(tmp_path, tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="does not exist"):
        echo.records(tmp_path / "nothing")


def test_names_without_their_suffix_and_absolute_paths(tmp_path: Path) -> None:
    names = ("a.dcm", "1.2.840.5", "c.AVI", "d.MOV", "sub/e", "f.mp4", "g.mp4")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(tmp_path)
    told = ("a", "1.2.840.5.dcm", "c.avi", "d", "sub/e.dcm", str(tmp_path / "f.mp4"), "./g")
    records = read(tmp_path, *(f"{name},1" for name in told))
    assert [record.path.relative_to(tmp_path).as_posix() for record in records] == list(names)
    through = echo.records(link, tmp_path / "scores.csv")  # the table has the absolute path without the link
    assert [record.path.relative_to(link).as_posix() for record in through] == list(names)
    assert not read(tmp_path, "a.mp4,1")[0].path.exists(), "a.dcm is another clip"


def test_whose_a_clip_is(tmp_path: Path) -> None:
    for name, patient, study in (("1", "A", "1.1"), ("2", "A", "1.2"), ("3", "B", "1.3"), ("4", "", "1.4")):
        clip(tmp_path / f"{name}.dcm", patient, study)
    (tmp_path / "5.dcm").write_text("an error page")
    records = read(
        tmp_path, *("1,1,P1", "2,1,", "3,1,", "4,1,", "5,1,", "6,1,"), head=f"{','.join(echo.NEEDED)},patient"
    )
    # The second file names the same person as the first, whom the table calls P1. The fourth names no one: its study
    # stands for one. Of the last two nobody tells.
    assert [record.patient for record in records] == ["P1", "P1", "B", "1.4", "", ""]
    assert [record.study for record in records] == ["1.1", "1.2", "1.3", "1.4", "", ""]
    assert "no patient  2 clips" in echo.told(echo.about(tmp_path, records))


def test_the_table_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no table with the columns") as caught:
        echo.records(tmp_path)
    assert "--annotations FILE" in caught.value.fix
    table(tmp_path, "x,y", head="FileName,EF", name="FileList.csv")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\x00")
    own = table(tmp_path, "x.mp4,1", head="Video_Path,Quality_Score")
    assert echo.records(tmp_path) == echo.records(tmp_path, own)
    table(tmp_path, "x.mp4,1", name="again.csv")
    with pytest.raises(InputError, match=r"several tables \(again.csv, scores.csv\)") as caught:
        echo.records(tmp_path)
    assert "--annotations" in caught.value.fix


def test_annotations_of_a_dataset_with_tables_of_its_own(tmp_path: Path) -> None:
    for command in (cli_commands_check.check, cli_commands_data.data_explore, shard):
        with pytest.raises(InputError, match="mura takes no --annotations"):
            command("mura", tmp_path, annotations=tmp_path / "x.csv")
    assert datasets.read("echo", tmp_path, table(tmp_path, "x.mp4,1"))[0].image == "line 2"


def test_a_request_keeps_the_table_and_the_shares_on_its_way_to_a_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(tmp_path, "x.mp4,1")
    monkeypatch.chdir(tmp_path)
    options = PackOptions(fractions=datasets.source("echo").fractions)
    request = Request("echo", Path(), options, max_rejects=0, partial=True, annotations=Path("scores.csv"))
    write_json(tmp_path / "request.json", request.told())
    monkeypatch.chdir("/")
    again = Request.of(read_json(tmp_path / "request.json"))
    assert again.options == options and again.options.fractions == (0.7, 0.15, 0.15)
    assert (again.root, again.annotations) == (tmp_path, tmp_path / "scores.csv")
    assert again.kept(again.open()[1]) == []  # the clip is not there
    plain = Request("demo", tmp_path, PackOptions(), 0, False)
    assert Request.of(json.loads(json.dumps(plain.told()))) == plain


def test_one_id_for_all_leaves_nothing_to_validate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As files are that were anonymised by one and the same word."""
    root = tmp_path / "clinic"
    lines = [f"{clip(root / f'{number}.dcm', 'ANON', seed=number).name},{number % 2}" for number in range(8)]
    scores = table(root, *lines)
    shard("echo", root, out=tmp_path / "shards", annotations=scores, size=32, workers=1)
    assert read_json(tmp_path / "shards" / "manifest.json")["splits"].keys() == {"train"}
    assert "no split to validate on" in capsys.readouterr().err
