"""Runs a program on a terminal of its own and relays what it draws to standard output.

terminal.py KEYS PROGRAM ARGUMENTS...: what is appended to the file KEYS is typed. SIGUSR1 sends SIGINT to the program.
The last line tells how the program ended and whether the terminal was left as it had been.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios

ROWS, COLUMNS = 40, 120


def main() -> None:
    keys = open(sys.argv[1], "rb")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    before = termios.tcgetattr(slave)
    child = subprocess.Popen(
        sys.argv[2:], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    signal.signal(signal.SIGUSR1, lambda *_: child.send_signal(signal.SIGINT))
    out = sys.stdout.buffer
    while True:
        ended = child.poll() is not None
        ready, _, _ = select.select([master], [], [], 0 if ended else 0.02)
        if ready:
            out.write(os.read(master, 1 << 16))
            out.flush()
        elif ended:
            break
        typed = keys.read()
        if typed:
            os.write(master, typed)
    same = termios.tcgetattr(slave) == before
    print(f"\nended {child.returncode}, terminal {'as before' if same else 'changed'}", flush=True)


main()
