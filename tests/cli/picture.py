"""Counts the pixels of one colour in a PNG of 8 bits a channel. picture.py FILE RRGGBB: prints width, height, count."""

import struct
import sys
import zlib


def paeth(a: int, b: int, c: int) -> int:
    p = a + b - c
    return min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]


def rows(data: bytes):
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG"
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and colour in (2, 6) and interlace == 0, "another kind of PNG"
            step = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    raw = zlib.decompress(packed)
    stride = width * step
    before = bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        how, row = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        for x in range(stride) if how else ():
            left = row[x - step] if x >= step else 0
            corner = before[x - step] if x >= step else 0
            add = (0, left, before[x], (left + before[x]) // 2, 0)[how]
            row[x] = (row[x] + (paeth(left, before[x], corner) if how == 4 else add)) & 255
        yield width, height, [bytes(row[x : x + 3]) for x in range(0, stride, step)]
        before = row


def main() -> None:
    wanted = bytes.fromhex(sys.argv[2])
    count, size = 0, (0, 0)
    with open(sys.argv[1], "rb") as file:
        for width, height, pixels in rows(file.read()):
            size = (width, height)
            count += pixels.count(wanted)
    print(*size, count)


main()
