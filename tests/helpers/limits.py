"""How long a test waits for what must come."""

from __future__ import annotations

HANG_S = 600.0  # for a hang alone: no machine is so busy
