"""What a shell starts in place of `python` (see forked_shell): a few milliseconds of Python, without the project.

It hands its words, streams, variables and folder to the test process over a socket, and ends as the fork ends.
"""

import array
import json
import os
import signal
import socket
import struct
import sys

SIZE = struct.Struct("!Q")  # of what is asked, before it
STATUS = struct.Struct("!i")  # as subprocess.Popen.returncode


def main() -> None:
    """`forked_program.py SOCKET WORDS`: what `python WORDS` would do."""
    address, *words = sys.argv[1:]
    asked = json.dumps({"words": words, "environment": dict(os.environ), "folder": os.getcwd()}).encode()  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        streams = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))
        connection.sendmsg([SIZE.pack(len(asked))], [streams])
        connection.sendall(asked)
        status = connection.recv(STATUS.size, socket.MSG_WAITALL)
    code = STATUS.unpack(status)[0] if status else 1
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
