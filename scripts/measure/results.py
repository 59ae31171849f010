"""The figures of `scripts/bench` as JSON, as tables and as a picture."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import subprocess

import svg

# Not compared: a write-back cache merges the writes, so that nobody could record them one by one; an fsync that
# does not reach the disk is none.
MERGED, NO_SYNC = ("write-128", "write-4k", "write-1m", "untar"), ("fsync", "fsync x8", "sqlite delete", "sqlite wal")
NOT_COMPARED = {"passthrough_hp": MERGED, "LoggedFS": NO_SYNC}
OURS = ["hippofs", "log only", "no log", "1 follower", "100 followers", "passthrough"]


def machine(place: pathlib.Path) -> str:
    """One line about what it was measured on."""
    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    kind = subprocess.run(["stat", "-f", "-c", "%T", place], capture_output=True, text=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(models)} x {models[0] if models else 'CPU'}, {memory:.0f} GiB, Linux {platform.release()}, {kind}"


def write(out: pathlib.Path, machine: str, columns: list[str], figures: dict, absent: list[str]) -> None:
    """Writes bench.json, bench.md and bench.svg into `out`, and prints the tables."""
    rounds = max((len(rates) for row in figures.values() for rates in row["rounds"].values()), default=0)
    text = f"{machine}; medians of {rounds} rounds\n\n{ratios(columns, figures)}\n\n{absolute(columns, figures)}\n"
    text += "\n* not compared: a write-back cache merges writes; an fsync that does not reach the disk is none.\n"
    if absent:
        text += "\nLeft out: " + "; ".join(absent) + ".\n"
    (out / "bench.json").write_text(json.dumps({"machine": machine, "figures": figures, "absent": absent}, indent=1))
    (out / "bench.md").write_text(text)
    (out / "bench.svg").write_text(picture(machine, columns, figures))
    print(text)
    print(f"bench: written to {out}: bench.json, bench.md, bench.svg")


def fastest(columns: list[str], name: str, row: dict) -> tuple[str, float] | None:
    """The fastest peer of a row."""
    others = [column for column in columns if column not in ("native", *OURS) and column in row]
    there = [(row[column], column) for column in others if name not in NOT_COMPARED.get(column, ())]
    return (max(there)[1], max(there)[0]) if there else None


def ratios(columns: list[str], figures: dict) -> str:
    """What is claimed: hippofs against native and the fastest peer, and what each part of it costs."""
    head = ["", "native", "hippofs", "of native", "fastest peer", "times it"]
    costs = [name for name in OURS[1:] if name in columns]
    lines = ["| " + " | ".join(head + [f"{name} / hippofs" for name in costs]) + " |"]
    lines.append("|" + "---|" * (len(head) + len(costs)))
    for name, row in figures.items():
        own, native, peer = row.get("hippofs"), row.get("native"), fastest(columns, name, row)
        cells = [name, number(native), number(own), ratio(own, native)]
        cells += [f"{peer[0]} {number(peer[1])}", ratio(own, peer[1])] if peer else ["", ""]
        cells += [ratio(row.get(cost), own) for cost in costs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def absolute(columns: list[str], figures: dict) -> str:
    """Every figure: per second; `write-1m` and `read-1m` in MB/s, `list` in names."""
    lines = ["| | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for name, row in figures.items():
        starred = [column for column in columns if column in row and name in NOT_COMPARED.get(column, ())]
        cells = [number(row.get(column)) + "*" * (column in starred) for column in columns]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def picture(machine: str, columns: list[str], figures: dict) -> str:
    """hippofs and the fastest peer of each row; the faster one of both is 100 %."""
    rows = []
    for name, row in figures.items():
        own, peer = row.get("hippofs"), fastest(columns, name, row)
        if own and peer:
            most = max(own, peer[1])
            rows.append((f"{name} ({peer[0]})", [own * 100 / most, peer[1] * 100 / most]))
    return svg.bars("hippofs, recording, and the fastest other", machine, ["hippofs", "fastest other"], rows)


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def ratio(value: float | None, base: float | None) -> str:
    return f"{value / base:.2f}" if value and base else ""
