"""Send the probe to a cluster, wait for what it finds, and take everything away again."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from medtrain.config import configfile, moldable, sbatch_options
from medtrain.config.schema import PUBLISHED, Config, SlurmConfig
from medtrain.core import processes
from medtrain.core.errors import MachineError
from medtrain.core.jsonfiles import read_json_lines, write_json
from medtrain.doctor.checks import Finding, cluster, fail, nodes, ok, probe_result, run_folder, slurm, warn
from medtrain.doctor.probe import BATCH, RANKS, REQUEST, SRUN, job_script, machine, write_clock
from medtrain.launch import submit as launch
from medtrain.runs.run import Run
from medtrain.slurm import pending_reasons, queries, sbatch

MINUTES = 5  # the job's limit; it needs one or two
BACK_SECONDS = 240.0  # Slurm's default for the way back from a requeue is 2 minutes
POLL_SECONDS = 1.0
OLD_SECONDS = 86_400.0
END_SECONDS = 60.0  # for the processes of a cancelled job to end
# Reasons to wait that end by themselves: a busy cluster is a good one.
PASSING = ("None", "Priority", "Resources", "BeginTime", "Prolog", "Cleaning", "ReqNodeNotAvail", "BurstBufferStageIn",
           "SchedDefer", "MpiPortsBusy", "NvidiaImexChannels", "MaxPoweredUpNodes", "FedJobLock")  # fmt: skip
PREFIX = ".medtrain-doctor-"
Named = tuple[str, Finding]


@dataclass
class Course:
    """How the job went, seen from here, and every line of its ranks with the time at which it showed here."""

    job: str = ""
    waited: float = 0.0
    fields: queries.Fields = field(default_factory=dict)
    requeue_seconds: float | None = None
    lines: list[dict[str, Any]] = field(default_factory=list)
    never: Finding | None = None  # why it did not start, or did not come back


def findings(
    profile: str, runs: Path, settings: Path | None, count: int, wait: float, options: tuple[str, ...] = ()
) -> Iterator[Named]:
    """Check a cluster with the settings of a profile and further `options` of sbatch: what Slurm says first, then a
    probe."""
    config = configfile.with_cluster(Config(), profile)
    if settings is not None:
        config = configfile.overlay(config, [str(settings)])
    else:
        config = moldable.of_cluster(config)
    config = configfile.merge(config, {"slurm": {"sbatch": list(options)}} if options else {}, "doctor")
    configfile.check(config, f"cluster {profile}")
    failed = False
    sbatch.require_commands("omit --cluster")
    for name, look in {"slurm": slurm.programs, "partitions": slurm.partitions}.items():
        if finding := look():
            yield name, finding
            if finding.state == "FAIL":
                return
    script = launch.script(Run(runs / "medtrain-doctor"), config.slurm)
    there = cluster.chosen(config.slurm, script)
    for name, finding in (*cluster.findings(config.slurm, script, there), ("folder", run_folder.writing(runs))):
        failed |= finding.state == "FAIL"
        yield name, finding
    if failed:
        yield "probe", warn("no probe was sent", "fix the failures above, then ask again")
        return
    with interruptible(), probe_folder(runs) as place:
        yield from probed(config, settings is not None, there, place, count, wait)


def probed(
    config: Config, planned: bool, there: queries.Fields, place: Path, count: int, wait: float
) -> Iterator[Named]:
    """Send the probe, and say what it found. `planned` says that `config` is that of a run to come."""
    asked, fewest = request(config.slurm, there, count), moldable.fewest_to_train(config.slurm)
    write_clock(place)
    write_json(place / REQUEST, {"weights": wanted_weights(config, planned)})
    course, name = Course(), f"medtrain-doctor-{place.name[-8:]}"
    try:
        try:
            asked, course.job = submit_either(place, name, asked, count or fewest, wait)
        except MachineError as error:
            yield "probe", fail(error.problem, "correct the profile, or ask the administrators of the cluster")
            return
        ranks = asked.nodes * sbatch_options.ranks_per_node(asked)
        yield "probe", ok(f"job {course.job} asks for {asked.nodes} nodes with {ranks} ranks; it takes about a minute")
        follow(course, place, wait)
    finally:
        cancel(name, course.job)
    complaints = "\n".join(tail(path) for path in (place / SRUN, *place.glob("job/slurm/*_log.out")))
    everything = probe_result.Told(
        asked, config.slurm.nodes, planned, course.job, course.waited, course.fields, course.requeue_seconds,
        course.never, course.lines, read_json_lines(place / BATCH), complaints, machine.software_facts(), place.parent,
    )  # fmt: skip
    yield from nodes.findings(everything)


def request(slurm_config: SlurmConfig, there: queries.Fields, count: int) -> SlurmConfig:
    """What the probe asks for: as the profile, but short, on two nodes at least, and warned early.

    Slurm looks at time limits every 30 s, and warns whoever has less left than asked for, and those 30 s: so the
    warning comes 30 to 60 s after the start, when the ranks are there, or at once where the limit is a minute.
    """
    most = min(cluster.most_nodes(there), cluster.suitable_nodes(slurm_config, there))
    limit = slurm.minutes(there.get("MaxTime", "")) or MINUTES
    minutes = int(min(MINUTES, max(1, limit)))
    options = sbatch_options.named(slurm_config.sbatch)
    options.pop("time-min", None)  # which may be longer
    return dataclasses.replace(
        slurm_config,
        nodes=count or min(max(moldable.fewest_to_train(slurm_config), 2), max(most, 1)),
        min_nodes=0,
        spare_nodes=0,
        time=str(minutes),
        partition=slurm_config.partition and there.get("PartitionName", ""),
        signal_seconds=max(minutes - 1, 1) * 60,
        sbatch=sbatch_options.spelled(options),
    )


def wanted_weights(config: Config, planned: bool) -> list[dict[str, str]]:
    """The pretrained weights that the planned run starts from, or where none is planned those of all recipes."""
    recipes = [] if planned else [configfile.resolve(name).model for name in configfile.recipe_names()]
    models = [*recipes, config.model]
    unique = {(model.weights, model.backbone): model for model in models if model.weights}
    absolute = {name: name if name in PUBLISHED else str(Path(name).absolute()) for name, _ in unique}
    return [{"weights": absolute[name], "backbone": backbone} for name, backbone in unique]


def submit_either(place: Path, name: str, asked: SlurmConfig, nodes: int, wait: float) -> tuple[SlurmConfig, str]:
    """Submit the probe; on `nodes` nodes where Slurm refuses more, as a limit may. Returns what was requested, and the
    job's id."""
    try:
        return asked, submit(place, name, asked, wait)
    except MachineError:
        if asked.nodes == nodes:
            raise
    asked = dataclasses.replace(asked, nodes=nodes)
    return asked, submit(place, name, asked, wait)


def submit(place: Path, name: str, asked: SlurmConfig, wait: float) -> str:
    """Hand the probe to Slurm as `medtrain submit` does a run; returns the job's id."""
    folder = Run(place / "job").slurm
    folder.mkdir(parents=True, exist_ok=True)
    # Slurm itself takes it out of the queue where the doctor was killed meanwhile.
    seconds = int(wait + max(wait, BACK_SECONDS) + 2 * MINUTES * 60)  # Slurm counts the whole limit of both lives
    made = sbatch.executor(folder, name, asked, deadline=f"now+{seconds}seconds")
    return sbatch.send(
        made, shlex.join(processes.command("medtrain.doctor.probe.job_script", str(place))), "ask the doctor again"
    )


def follow(course: Course, place: Path, wait: float) -> None:
    """Watch the job until it is over; give up where it does not start, or does not come back, within `wait` seconds."""
    begun = requeued = time.monotonic()
    started = False
    while True:
        with contextlib.suppress(OSError):  # a full quota; the probe says so
            write_clock(place)
        read(course, place / RANKS)
        shown, problem = queries.show(course.job)
        fields = course.fields = shown or course.fields  # a controller may be silent for a moment
        state = fields.get("JobState", "")
        now = time.monotonic()
        if state in queries.RUNS and not started:
            started, course.waited = True, now - begun
        again = fields.get("Restarts", "0") != "0"
        if not again:
            requeued = now
        elif state not in (*queries.WAITING, "COMPLETING") and course.requeue_seconds is None:
            course.requeue_seconds = now - requeued
        back = course.requeue_seconds is not None and any(line.get("life") for line in read_json_lines(place / BATCH))
        if back or state in queries.ENDED or "Invalid job id" in problem:
            read(course, place / RANKS)
            return
        patience = max(wait, BACK_SECONDS) if again else wait + started * MINUTES * 60
        if shown and (late := now - (requeued if again else begun)) > patience:
            course.never = not_started(fields, late, again)
            return
        time.sleep(POLL_SECONDS)


def read(course: Course, path: Path) -> None:
    """Take new lines of the ranks, with the time at which they showed."""
    for line in job_script.read_ranks(path)[len(course.lines) :]:
        course.lines.append({**line, "seen": time.time()})


def not_started(fields: queries.Fields, late: float, again: bool) -> Finding:
    """Why the job waits, in words."""
    reason = fields.get("Reason", "no answer")
    words = pending_reasons.explain_reason(reason, {**fields, "job": fields.get("JobId", ""), "run": "RUN"})
    helps = words.helps.replace(pending_reasons.STOP.format(run="RUN"), "change the profile:")
    what = "was requeued and did not come back" if again else "did not start"
    passes = reason.partition(",")[0] in PASSING or words.helps == pending_reasons.LIMITED
    return (warn if passes else fail)(
        f"the probe {what} within {late:.0f} s: {words.why} ({reason})",
        f"{helps + '; ' if helps else ''}where it only takes longer: --wait SECONDS; with one node only: --nodes 1",
    )


def cancel(name: str, job: str) -> None:
    """Leave no job behind, by its name too: it may be in the queue before its id is known here."""
    queries.ask("scancel", "--quiet", f"--name={name}")
    deadline = time.monotonic() + END_SECONDS
    while job and time.monotonic() < deadline:
        state = queries.queue_state(job)
        if state is None:
            return
        queries.ask("scancel", "--quiet", job)  # a requeue may have come in between
        time.sleep(0.5)


def tail(path: Path) -> str:
    """The end of a log."""
    try:
        return path.read_text(errors="replace")[-20_000:]
    except OSError:
        return ""


@contextlib.contextmanager
def probe_folder(runs: Path) -> Iterator[Path]:
    """A folder beside the runs, private to the user, which is gone afterwards."""
    for old in runs.glob(f"{PREFIX}*"):  # of a doctor that was killed
        with contextlib.suppress(OSError):  # another's, or gone meanwhile
            if old.stat().st_mtime < time.time() - OLD_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=runs.absolute()))
    try:
        yield place
    finally:
        for _ in range(5):  # a network file system keeps files that a dying process has open
            shutil.rmtree(place, ignore_errors=True)
            if not place.exists():
                break
            time.sleep(1)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """A TERM or a closed terminal ends the doctor as Ctrl-C does: with the job cancelled and the folder gone."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
