"""TensorBoard: one event file with the whole journal, written anew in every attempt."""

from __future__ import annotations

import time
from typing import Any

from medtrain.runs.run import Run
from medtrain.tracking.backends.stale_folders import StaleFolders
from medtrain.tracking.journal_reader import Row


class TensorboardBackend:
    """TensorBoard's own record writer: no torch, no thread, and no host name in the name of the file."""

    amends = True

    def __init__(self, run: Run) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        parent = run.trackers / "tensorboard"
        self._earlier = StaleFolders(parent, "*", "events.*")
        now = time.time()
        # Nanoseconds: an attempt that is restarted at once must get a folder of its own.
        folder = parent / f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{time.time_ns() % 10**9:09d}"
        folder.mkdir(parents=True)
        self._path = folder / f"events.out.tfevents.{int(now)}.medtrain"
        self._file = self._path.open("wb")
        self._writer = RecordWriter(self._file)
        self._write(Event(wall_time=now, file_version="brain.Event:2"))

    def send(self, rows: list[Row]) -> None:
        """Write one event a step."""
        for row in rows:
            values = [self._summary.Value(tag=name, simple_value=value) for name, value in row.values.items()]
            self._write(self._event(wall_time=row.time, step=row.step, summary=self._summary(value=values)))

    def send_test(self, row: Row) -> None:
        """Write them at the last step."""
        self.send([row])

    def flush(self) -> None:
        """Write out, then drop the older folders once this one holds as much."""
        self._file.flush()
        self._earlier.drop_once_replayed(self._path)

    def finish(self) -> None:
        """Close the file; it holds everything."""
        self._file.close()
        self._earlier.drop(self._path.parent)

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())
