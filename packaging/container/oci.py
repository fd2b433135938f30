"""Writes layers as one archive that is an OCI image layout, and can be read by older `docker load`, too:
oci.py VERSION ARCHIVE LAYER.tar... (the OCI Image Format Specification; SOURCE_DATE_EPOCH is the time of all parts)."""

import gzip
import hashlib
import io
import json
import os
import platform
import sys
import tarfile
from datetime import datetime, timezone

version, archive, *layers = sys.argv[1:]
epoch = int(os.environ["SOURCE_DATE_EPOCH"])
created = datetime.fromtimestamp(epoch, timezone.utc).isoformat().replace("+00:00", "Z")
inosync = ["/usr/bin/inosync", "-c", "/etc/inosync/inosync.ron"]
second = 10**9  # in nanoseconds

files = {}


def blob(content, media_type):
    digest = hashlib.sha256(content).hexdigest()
    files[f"blobs/sha256/{digest}"] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def as_json(value):
    return json.dumps(value, indent=1).encode()


layer_type = "application/vnd.oci.image.layer.v1.tar+gzip"
contents = [open(layer, "rb").read() for layer in layers]
packed = [blob(gzip.compress(content, 9, mtime=0), layer_type) for content in contents]
config = blob(
    as_json(
        {
            "created": created,
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": {
                "User": "10001:10001",
                "Env": [
                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                    "HOME=/var/lib/inosync",
                    "SHELL=/bin/sh",
                    # A volume of Kubernetes can be written by others; the directory in it is made by the daemon for itself.
                    "STATE_DIRECTORY=/var/lib/inosync/state",
                    "RUNTIME_DIRECTORY=/run/inosync",
                ],
                "Entrypoint": ["/usr/bin/tini", "--", inosync[0]],
                "Cmd": inosync[1:],
                "WorkingDir": "/",
                "StopSignal": "SIGTERM",
                # Not in the specification; Docker and its relatives read it.
                "Healthcheck": {
                    "Test": ["CMD", *inosync, "status"],
                    "Interval": 30 * second,
                    "Timeout": 10 * second,
                    "StartPeriod": 60 * second,
                },
                "Labels": {
                    "org.opencontainers.image.title": "inosync",
                    "org.opencontainers.image.version": version,
                    "org.opencontainers.image.licenses": "MIT",
                },
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents],
            },
            "history": [
                {"created": created, "created_by": f"layer {number} of {len(layers)}"}
                for number in range(1, len(layers) + 1)
            ],
        }
    ),
    "application/vnd.oci.image.config.v1+json",
)
manifest_type = "application/vnd.oci.image.manifest.v1+json"
manifest = blob(as_json({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": packed}), manifest_type)


def path(part):
    return "blobs/" + part["digest"].replace(":", "/")


manifest["annotations"] = {"org.opencontainers.image.ref.name": version, "io.containerd.image.name": f"docker.io/library/inosync:{version}"}
files["oci-layout"] = as_json({"imageLayoutVersion": "1.0.0"})
files["index.json"] = as_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [manifest]})
# What `docker load` read before it knew OCI.
files["manifest.json"] = as_json(
    [{"Config": path(config), "RepoTags": [f"inosync:{version}"], "Layers": [path(layer) for layer in packed]}]
)
with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as out:
    for name, content in sorted(files.items()):
        entry = tarfile.TarInfo(name)
        entry.size, entry.mtime, entry.mode = len(content), epoch, 0o644
        out.addfile(entry, io.BytesIO(content))
