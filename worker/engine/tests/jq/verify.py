#!/usr/bin/env python3
"""Holds the jq tables against a real jq 1.7.1.

    python3 -m venv venv && venv/bin/pip install jq==1.8.0    # this release carries jq 1.7.1
    venv/bin/python verify.py            # says where the tables and jq disagree; exit 1 if they do
    venv/bin/python verify.py --write    # writes jq's results into the tables

cases.tsv        program, input, results: jq and Flagstop agree
differences.tsv  reason, program, input, jq's results, Flagstop's results: they do not, and why

Results are a JSON array of the values, followed by `error` and the error if it ended with one; `refused` stands for a
program that does not compile, `crash` for one that kills jq. Lines that begin with `#` are headings. Flagstop's side is
tested by `cargo test -p flagstop-engine --lib jq_table`.
"""
import json
import os
import pathlib
import sys

os.environ["TZ"] = "UTC"
import jq  # noqa: E402 (after TZ)

HERE = pathlib.Path(__file__).parent
SECONDS_MAX = 10


def number(text):
    """Numbers as Flagstop has them: integral ones below 2^53 are integers."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def run(program, text):
    """All results of a program, as the tables write them."""
    wrapped = f"[try (({program}\n) | [.]) catch {{error: .}}]"
    try:
        compiled = jq.compile(wrapped)
    except ValueError:
        return "refused"
    try:
        steps = json.loads(compiled.input_text(text).text(), parse_float=number)
    except ValueError as why:
        return f"unreadable: {why}"
    values = [step[0] for step in steps if isinstance(step, list)]
    result = show(values)
    for step in steps:
        if isinstance(step, dict):
            result += " error " + show(step["error"])
    return result


def show(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def guarded(program, text):
    """The same in a process of its own: some programs kill jq 1.7.1."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        import signal
        signal.alarm(SECONDS_MAX)
        os.close(2)
        os.write(write, run(program, text).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return found if status == 0 else "crash"


def check(name, program_at, results_at, writes):
    path = HERE / name
    lines, wrong, count = [], 0, 0
    for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        if line and not line.startswith("#"):
            count += 1
            cells = line.split("\t")
            cells += [""] * (results_at + 1 - len(cells))
            found = guarded(cells[program_at], cells[program_at + 1])
            if found != cells[results_at]:
                wrong += 1
                if not writes:
                    print(f"{name}: {cells[program_at + 1]} | {cells[program_at]}\n  table {cells[results_at]}\n  jq    {found}")
                cells[results_at] = found
            line = "\t".join(cells)
        lines.append(line)
    if writes:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {count} cases, {wrong} {'written' if writes else 'wrong'}", file=sys.stderr)
    return wrong


if __name__ == "__main__":
    writes = "--write" in sys.argv[1:]
    wrong = check("cases.tsv", 0, 2, writes) + check("differences.tsv", 1, 3, writes)
    sys.exit(0 if writes or wrong == 0 else 1)
