"""Archives of data sets: fetched from npm or the official host, whichever there is."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
import struct
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from spikeserve.training.cli import main
from spikeserve.training.data import DATASETS
from spikeserve.training.data.archives import Download, NpmPackage, Source, fetched
from spikeserve.training.data.dataset import Pixels
from spikeserve.training.errors import DataError

BATCHES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    folder = tmp_path / "host"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def short_string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def python2_batch(pixels: Pixels, labels: Pixels, key: str) -> bytes:
    """A batch as the official archives hold it: pickled by Python 2, with strings of bytes."""
    data = pixels.tobytes()
    rows, columns = (b"M" + struct.pack("<H", extent) for extent in pixels.shape)
    return b"".join([
        b"\x80\x02}(", short_string(b"batch_label"), short_string(b"a batch"),
        short_string(b"data"), b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85",
        short_string(b"b"), b"\x87R(K\x01", rows, columns, b"\x86cnumpy\ndtype\n",
        short_string(b"u1"), b"K\x00K\x01\x87R(K\x03", short_string(b"|"),
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T", struct.pack("<I", len(data)), data,
        b"tb", short_string(key.encode()), b"](",
        *(b"K" + bytes([label]) for label in labels), b"eu.",
    ])  # fmt: skip


def archive_of(folder: str, batches: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, batch in batches.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(batch)
            archive.addfile(info, io.BytesIO(batch))
    return file.getvalue()


def made(name: str) -> tuple[bytes, dict[str, str]]:
    """A small official archive, and the sha256 of the arrays it holds."""
    rng = np.random.default_rng(0)
    classes, key, folder, files = {
        "cifar10": (10, "labels", "cifar-10-batches-py", BATCHES),
        "cifar100": (100, "fine_labels", "cifar-100-python", ["train", "test"]),
    }[name]
    images = rng.integers(0, 256, (4 * len(files), 32, 32, 3), np.uint8)
    labels = rng.integers(0, classes, len(images)).astype(np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(len(files), 4, -1)
    batches = {
        file: python2_batch(pixels, part, key)
        for file, pixels, part in zip(files, planes, labels.reshape(-1, 4), strict=True)
    }
    arrays = {"train_images": images[:-4], "train_labels": labels[:-4]}
    arrays |= {"test_images": images[-4:], "test_labels": labels[-4:]}
    digests = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    return archive_of(folder, batches), digests


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_without_npm_the_official_archive_is_downloaded(
    name: str,
    host: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served, address = host
    content, sha256 = made(name)
    (served / "official.tar.gz").write_bytes(content)
    sources = DATASETS[name].download.args[0]  # type: ignore[attr-defined]
    official = Download(f"{address}/official.tar.gz", md5(content))
    assert isinstance(sources[-1], Download)
    download = partial(fetched, (*sources[:-1], official))
    dataset = dataclasses.replace(DATASETS[name], sha256=sha256, download=download)
    monkeypatch.setitem(DATASETS, name, dataset)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert main(["data", name, "--data", str(tmp_path / "data")]) == 0
    assert len(dataset.train(tmp_path / "data")) == (20 if name == "cifar10" else 4)
    assert len(dataset.test(tmp_path / "data")) == 4


def test_both_ways_are_named_where_neither_works(
    host: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    sources: list[Source] = [NpmPackage("images@1"), Download(f"{host[1]}/missing.tar.gz", "")]
    with pytest.raises(DataError, match=r"npm.*not installed; http:.*404.*; .*--source"):
        fetched(sources, tmp_path)
    assert not list(tmp_path.glob("missing*"))


def test_npm_is_asked_first_and_the_official_host_where_it_fails(
    host: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, address = host
    (served / "official.tar.gz").write_bytes(b"official")
    sources: list[Source] = [
        NpmPackage("images@1"),
        Download(f"{address}/official.tar.gz", md5(b"official")),
    ]
    commands = tmp_path / "commands"
    commands.mkdir()
    npm = commands / "npm"
    shell = shutil.which("sh")
    npm.write_text(f"#!{shell}\necho no such package >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(commands))
    assert fetched(sources, tmp_path).read_bytes() == b"official"
    (tmp_path / "official.tar.gz").unlink()
    npm.write_text(f"#!{shell}\necho package > images-1.tgz\n")
    assert fetched(sources, tmp_path).name == "images-1.tgz"


def test_an_archive_in_the_folder_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(b"bytes")
    sources: list[Source] = [
        NpmPackage("images@1"),
        Download("http://nowhere.invalid/set.tar.gz", ""),
    ]
    assert fetched(sources, tmp_path).read_bytes() == b"bytes"


def test_a_damaged_download_is_refused_and_not_kept(host: tuple[Path, str], tmp_path: Path) -> None:
    (host[0] / "set.tar.gz").write_bytes(b"half of i")
    with pytest.raises(DataError, match=r"damaged.*--source"):
        fetched([Download(f"{host[1]}/set.tar.gz", md5(b"half of it"))], tmp_path)
    assert not list(tmp_path.glob("set*"))
