"""Reads `docker save IMAGE` and writes an OCI archive of it without the layers that a node has unpacked already.

    docker save IMAGE | python3 thin_image.py IMAGE CHAIN_ID... | ctr images import -

A trainer image is gigabytes of torch under a megabyte of our source: after a change of the source this is what must
travel. A layer is known to a node by its chain id (OCI image specification, "Layer ChainID"):
chain_0 = diff_0, chain_n = sha256(chain_(n-1) + " " + diff_n). Works on Docker's own archive format and on OCI's.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from typing import BinaryIO

KEPT_BYTES = 256 << 20  # larger layers than this never travel thin: they are not even held in memory
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_ids(diff_ids: list[str]) -> list[str]:
    """Return the chain id of each layer, from the lowest up."""
    chain = diff_ids[:1]
    for diff in diff_ids[1:]:
        chain.append(digest_of(f"{chain[-1]} {diff}".encode()))
    return chain


def read_archive(stream: BinaryIO) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return the archive's files of moderate size by name, and the size of each; links count as what they link to."""
    files: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.isfile():
                sizes[member.name] = member.size
                if member.size <= KEPT_BYTES:
                    files[member.name] = archive.extractfile(member).read()  # type: ignore[union-attr]
    return files, sizes


def thin(files: dict[str, bytes], sizes: dict[str, int], name: str, known: set[str]) -> dict[str, bytes]:
    """Return the files of the OCI archive. Raises KeyError when a layer must travel that was too large to keep."""
    (saved,) = json.loads(files["manifest.json"])
    config = files[saved["Config"]]
    diff_ids = json.loads(config)["rootfs"]["diff_ids"]
    blobs = {digest_of(config): config}
    layers = []
    for path, diff, chain in zip(saved["Layers"], diff_ids, chain_ids(diff_ids), strict=True):
        layers.append({"mediaType": LAYER, "digest": diff, "size": sizes[path]})
        if chain not in known:
            blobs[diff] = files[path]
    described = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
    manifest = json.dumps(document).encode()
    blobs[digest_of(manifest)] = manifest
    entry = {
        "mediaType": MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "annotations": {"io.containerd.image.name": name},
    }
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    archive = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index}
    return archive | {f"blobs/sha256/{digest.removeprefix('sha256:')}": blob for digest, blob in blobs.items()}


def main(name: str, *known: str) -> int:
    files, sizes = read_archive(sys.stdin.buffer)
    try:
        contents = thin(files, sizes, name, set(known))
    except KeyError as missing:
        print(f"{name}: the layer {missing} is large and not on the node yet", file=sys.stderr)
        return 1
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for path, data in contents.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
