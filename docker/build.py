#!/usr/bin/env python3
"""The OCI image from a program that cargo built, without a daemon: always the same bits from the same files.

    docker/build.py BINARY OUT.tar

OUT.tar can be given to `docker load`, `podman load` and `skopeo copy oci-archive:OUT.tar …`: it is an OCI layout
and a docker archive at once. Beside it, OUT.cdx.json tells what the program is made of (CycloneDX). The image has
the program, the shared libraries that it needs, certificates of the usual authorities, and nothing to run but it.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tarfile
import tomllib
import uuid

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
# Looked up by name when the program runs: names of hosts.
BY_NAME = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"]


def die(message):
    sys.exit(f"docker/build.py: {message}")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def epoch():
    """The time that every file and the image itself get: the last commit's."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct"))


def libraries(binary):
    """What the loader will look for, by the path it will look at."""
    found = {}
    for line in run("ldd", str(binary)).splitlines():
        if "not found" in line:
            die(f"{binary} needs a library that is not here: {line.strip()}")
        if match := re.search(r"(?:=> )?(/\S+) \(0x", line):
            path = pathlib.Path(match[1])
            found[str(path)] = path.resolve()
    libc = next((pathlib.Path(path) for path in found if "libc.so" in path), None)
    for name in BY_NAME if libc else []:
        path = libc.with_name(name)
        if path.exists():
            found[str(path)] = path.resolve()
    return found


class Layer:
    """A tar in which the order, the owners and the times of files depend on nothing but their names."""

    def __init__(self, when):
        self.when = when
        self.entries = {}

    def folder(self, path, mode=0o755, user=0):
        for parent in reversed(pathlib.PurePosixPath(path).parents):
            if str(parent) not in (".", "/"):
                self.entries.setdefault(str(parent), (stat.S_IFDIR | 0o755, 0, b""))
        self.entries[path] = (stat.S_IFDIR | mode, user, b"")

    def file(self, path, data, mode=0o644):
        path = path.lstrip("/")
        self.folder(str(pathlib.PurePosixPath(path).parent))
        self.entries[path] = (stat.S_IFREG | mode, 0, data)

    def pack(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in sorted(self.entries):
                mode, user, data = self.entries[path]
                info = tarfile.TarInfo(path)
                info.mode, info.uid, info.gid, info.mtime = stat.S_IMODE(mode), user, user, self.when
                info.type = tarfile.DIRTYPE if stat.S_ISDIR(mode) else tarfile.REGTYPE
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()


def owner(path):
    """Debian package and version that a file came from."""
    try:
        name = run("dpkg-query", "-S", str(path)).split(": ")[0].split(",")[0]
        return tuple(run("dpkg-query", "-W", "-f", "${source:Package} ${Version} ${Package}", name).split())
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None


def bill(version, files):
    """CycloneDX 1.5: the crates of Cargo.lock, and the Debian packages whose files are in the image."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:cargo/{package['name']}@{package['version']}",
            "name": package["name"],
            "version": package["version"],
            "purl": f"pkg:cargo/{package['name']}@{package['version']}",
            **({"hashes": [{"alg": "SHA-256", "content": package["checksum"]}]} if "checksum" in package else {}),
        }
        for package in lock["package"]
    ]
    for name, release, _binary in sorted({found for found in map(owner, files) if found}):
        purl = f"pkg:deb/debian/{name}@{release}"
        components.append({"type": "library", "bom-ref": purl, "name": name, "version": release, "purl": purl})
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "deskhand", "version": version}},
        "components": components,
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    body["serialNumber"] = f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}"
    return json.dumps(body, indent=1, sort_keys=True).encode()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    arguments = parser.parse_args()
    if not arguments.binary.is_file():
        die(f"there is no {arguments.binary}; cargo build --release --bin deskhand makes it")
    if not CERTIFICATES.is_file():
        die(f"there is no {CERTIFICATES}; apt-get install ca-certificates")

    about = json.loads((HERE / "image.json").read_text())
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    when, user = epoch(), int(about["user"])
    needed = libraries(arguments.binary.resolve())
    sbom = bill(version, needed.values())

    layer = Layer(when)
    layer.file("bin/deskhand", arguments.binary.read_bytes(), 0o755)
    for path, real in needed.items():
        layer.file(path, real.read_bytes(), 0o755)
    layer.file("etc/ssl/certs/ca-certificates.crt", CERTIFICATES.read_bytes())
    layer.file("etc/passwd", f"root:x:0:0::/:/none\ndeskhand:x:{user}:{user}::/data:/none\n".encode())
    layer.file("etc/group", f"root:x:0:\ndeskhand:x:{user}:\n".encode())
    layer.file("etc/nsswitch.conf", b"hosts: files dns\n")
    layer.file("usr/share/doc/deskhand/LICENSE", (ROOT / "LICENSE").read_bytes())
    layer.file("usr/share/doc/deskhand/sbom.cdx.json", sbom)
    # A new volume takes the owner of the folder below it.
    layer.folder("data", 0o700, user)
    layer.folder("tmp", 0o1777)
    packed = layer.pack()
    squeezed = gzip.compress(packed, 9, mtime=0)

    blobs = {}

    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}

    created = run("date", "--utc", f"--date=@{when}", "+%Y-%m-%dT%H:%M:%SZ").strip()
    revision = run("git", "rev-parse", "HEAD").strip()
    labels = about["labels"] | {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": revision,
        "org.opencontainers.image.ref.name": version,
    }
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = {
        "created": created,
        "architecture": machine,
        "os": "linux",
        "config": {
            "User": f"{user}:{user}",
            "Entrypoint": ["/bin/deskhand"],
            "Cmd": about["command"],
            "Env": [f"{name}={value}" for name, value in sorted(about["environment"].items())],
            "ExposedPorts": {port: {} for port in about["ports"]},
            "Volumes": {"/data": {}},
            "WorkingDir": "/data",
            "StopSignal": about["stopSignal"],
            "Labels": labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(packed).hexdigest()}"]},
        "history": [{"created": created, "created_by": "docker/build.py"}],
    }
    encode = lambda value: json.dumps(value, sort_keys=True).encode()
    config_blob = blob(encode(config), "application/vnd.oci.image.config.v1+json")
    layer_blob = blob(squeezed, "application/vnd.oci.image.layer.v1.tar+gzip")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_blob,
        "layers": [layer_blob],
        "annotations": labels,
    }
    manifest_blob = blob(encode(manifest), "application/vnd.oci.image.manifest.v1+json")
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            manifest_blob
            | {
                "platform": {"architecture": machine, "os": "linux"},
                "annotations": {"org.opencontainers.image.ref.name": f"deskhand:{version}"},
            }
        ],
    }
    place = lambda descriptor: "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")
    docker = [
        {"Config": place(config_blob), "RepoTags": [f"deskhand:{version}"], "Layers": [place(layer_blob)]}
    ]
    archive = Layer(when)
    for path, data in blobs.items():
        archive.file(path, data)
    archive.file("oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
    archive.file("index.json", encode(index))
    archive.file("manifest.json", encode(docker))
    data = archive.pack()

    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_bytes(data)
    arguments.out.with_suffix(".cdx.json").write_bytes(sbom)
    size = sum(len(content) for _, _, content in layer.entries.values())
    print(f"{hashlib.sha256(data).hexdigest()}  {arguments.out}")
    print(f"{size / 1e6:.1f} MB uncompressed, the program {arguments.binary.stat().st_size / 1e6:.1f} MB")


main()
