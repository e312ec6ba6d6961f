"""A docker archive with one layer, from the closure of its contents: always the same bits."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

out = os.environ["out"]
spec = json.load(open(os.environ["specPath"]))
when = int(spec["created"].removeprefix("@"))

os.mkdir("root")
os.chdir("root")
for package in os.environ["contents"].split():
    subprocess.run(["cp", "-a", "--no-preserve=ownership", f"{package}/.", "."], check=True)
    subprocess.run(["chmod", "-R", "u+w", "."], check=True)
closure = set()
for graph in os.environ["graphs"].split():
    closure |= {line.strip() for line in open(f"../{graph}") if line.startswith("/nix/store/")}

# Nobody here may give a file to somebody else: what the commands want is noted and written into the archive.
owners = {}
for line in open(os.environ["fakeRootPath"]).read().splitlines():
    words = line.split()
    if words[:1] == ["chown"]:
        owners[words[2].removeprefix("./")] = tuple(map(int, words[1].split(":")))
    elif words:
        subprocess.run(words, check=True)


def plain(info):
    info.mtime = when
    info.uname = info.gname = ""
    info.uid, info.gid = owners.get(info.name.removeprefix("./"), (0, 0))
    return info


def add_all(tar, path, name):
    for folder, folders, files in os.walk(path):
        folders.sort()
        inside = os.path.relpath(folder, path)
        for entry in sorted([*folders, *files]):
            file = os.path.join(folder, entry)
            tar.add(file, os.path.normpath(os.path.join(name, inside, entry)), recursive=False, filter=plain)


layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
    add_all(tar, ".", ".")
    for path in sorted(closure):
        name = path.lstrip("/")
        tar.add(path, name, recursive=False, filter=plain)
        if os.path.isdir(path):
            add_all(tar, path, name)
layer = layer.getvalue()
digest = hashlib.sha256(layer).hexdigest()

config = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": spec["config"],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    },
    sort_keys=True,
).encode()
name = hashlib.sha256(config).hexdigest()
manifest = [{"Config": f"{name}.json", "RepoTags": [f"{spec['name']}:{spec['tag']}"], "Layers": [f"{digest}.tar"]}]

with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
    for file, data in [(f"{name}.json", config), (f"{digest}.tar", layer), ("manifest.json", json.dumps(manifest).encode())]:
        info = tarfile.TarInfo(file)
        info.size, info.mtime = len(data), when
        tar.addfile(info, io.BytesIO(data))
