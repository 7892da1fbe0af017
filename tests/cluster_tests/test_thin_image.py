"""Of a rebuilt image only the layers travel that a node lacks; what arrives is a whole image all the same."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "e2e" / "cluster" / "thin_image.py"


def load_script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("thin_image", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


thin_image = load_script()
LOWER, UPPER = b"torch" * 100, b"our source"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


CONFIG = json.dumps({"rootfs": {"type": "layers", "diff_ids": [digest(LOWER), digest(UPPER)]}}).encode()
LOWER_CHAIN = digest(LOWER)  # of the lowest layer, the chain id is the diff id
UPPER_CHAIN = digest(f"{digest(LOWER)} {digest(UPPER)}".encode())


def saved_image() -> io.BytesIO:
    """Return what `docker save` writes for an image of two layers."""
    manifest = [{"Config": "c.json", "RepoTags": ["trainer:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
    members = {
        "a/layer.tar": LOWER,
        "b/layer.tar": UPPER,
        "c.json": CONFIG,
        "manifest.json": json.dumps(manifest).encode(),
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    stream.seek(0)
    return stream


def thin(known: set[str]) -> dict[str, bytes]:
    return thin_image.thin(*thin_image.read_archive(saved_image()), "docker.io/library/trainer:1", known)


def blob(digest_text: str) -> str:
    return "blobs/sha256/" + digest_text.removeprefix("sha256:")


def test_the_chain_id_of_a_layer_covers_all_the_layers_below_it() -> None:
    assert thin_image.chain_ids([digest(LOWER), digest(UPPER)]) == [LOWER_CHAIN, UPPER_CHAIN]
    assert thin_image.chain_ids([]) == []


def test_a_layer_that_the_node_has_does_not_travel() -> None:
    contents = thin({LOWER_CHAIN})
    assert blob(digest(LOWER)) not in contents
    assert contents[blob(digest(UPPER))] == UPPER


def test_a_layer_known_only_above_other_layers_travels() -> None:
    contents = thin({digest(UPPER)})  # the same files, unpacked there on top of something else
    assert contents[blob(digest(UPPER))] == UPPER


def test_the_manifest_names_every_layer_and_every_blob_is_named_by_its_digest() -> None:
    contents = thin({LOWER_CHAIN})
    index = json.loads(contents["index.json"])
    (entry,) = index["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": "docker.io/library/trainer:1"}
    manifest = json.loads(contents[blob(entry["digest"])])
    assert [(layer["digest"], layer["size"]) for layer in manifest["layers"]] == [
        (digest(LOWER), 500),
        (digest(UPPER), 10),
    ]
    assert contents[blob(manifest["config"]["digest"])] == CONFIG
    for path, data in contents.items():
        if path.startswith("blobs/"):
            assert path == blob(digest(data))


def test_a_large_layer_that_the_node_lacks_is_refused_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_image, "KEPT_BYTES", 400)
    with pytest.raises(KeyError, match=r"a/layer\.tar"):
        thin(set())
    files, sizes = thin_image.read_archive(saved_image())
    assert "a/layer.tar" not in files and sizes["a/layer.tar"] == 500
