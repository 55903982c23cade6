"""launch.rank_processes: where the ranks meet."""

from __future__ import annotations

import socket

from medtrain.launch.rank_processes import EPHEMERAL, LOWEST_PORT, free_port


def test_the_port_is_free_and_none_that_the_kernel_gives_away() -> None:
    first = int(EPHEMERAL.read_text().split()[0])
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10, "two supervisors of one machine hardly choose the same"
    assert all(LOWEST_PORT <= port < first for port in ports)
    with socket.socket() as listener:
        listener.bind(("", ports.pop()))
