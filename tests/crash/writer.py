"""One session that works without end and writes down, outside the mount, each call that returned.

argv: the directory to work in, the file to write down in, the session's number.
After a failed call the document is given up: whether that call took effect is not known.
"""
import itertools
import os
import sys
import time

work, notes, who = sys.argv[1:]
out = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(*words):
    os.write(out, (" ".join(map(str, words)) + "\n").encode())


def document(n):
    name = "w%s-%d" % (who, n)
    path = os.path.join(work, name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        note("create", name)
        for offset in (0, 10):
            assert os.pwrite(fd, b"0123456789", offset) == 10
            note("write", name, offset)
    except BaseException:
        try:
            os.close(fd)
        except OSError:
            pass
        raise
    os.close(fd)
    note("close", name)
    os.rename(path, path + ".json")
    note("rename", name, name + ".json")
    if n % 2:
        os.unlink(path + ".json")
        note("unlink", name + ".json")


def answers():
    """Whether the daemon answers; the kernel answers most questions from its caches, not this one."""
    try:
        return bool(os.statvfs(work))
    except OSError:
        return False


for n in itertools.count():
    try:
        document(n)
    except OSError as error:
        note("failed", n, error.errno)
        # The mount is away: ask until it is back, without heating the machine.
        while not answers():
            time.sleep(0.002)
