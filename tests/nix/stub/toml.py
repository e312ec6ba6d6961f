"""JSON on standard input to TOML on standard output: tables, lists and plain values."""

import json
import re
import sys


def key(name):
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def value(v):
    if isinstance(v, dict):
        return "{ " + ", ".join(f"{key(k)} = {value(x)}" for k, x in v.items()) + " }"
    if isinstance(v, list):
        return "[" + ", ".join(value(x) for x in v) + "]"
    return json.dumps(v, ensure_ascii=False)


def table(path, members):
    plain = {k: v for k, v in members.items() if not isinstance(v, dict)}
    if path and (plain or not members):
        print(f"\n[{'.'.join(map(key, path))}]")
    for k, v in plain.items():
        print(f"{key(k)} = {value(v)}")
    for k, v in members.items():
        if isinstance(v, dict):
            table([*path, k], v)


table([], json.load(sys.stdin))
