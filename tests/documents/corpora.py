"""Fetch real files by the thousand, and send them through both providers: on demand, with figures.

``python -m tests.documents.corpora FOLDER`` fetches: sdists and wheels by pip, packages and sources
by apt (Debian; needs no root). Then
``BATCHKIT_CORPORA=FOLDER pytest -s tests/documents/test_corpora.py`` runs and prints.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

SDISTS = ("pypdf", "pikepdf", "pypdfium2", "img2pdf", "python-docx", "python-pptx", "pillow")
WHEELS = ("vega-datasets", "statsmodels")
PACKAGES = ("erlang-doc", "r-doc-pdf", "python3.11-doc")
SOURCES = ("libapache-poi-java", "pandoc")
_DEB_SRC = """\
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def fetch(folder: Path) -> None:
    """Download everything into ``folder/downloads`` and unpack it into ``folder/files``."""
    downloads, files = folder / "downloads", folder / "files"
    downloads.mkdir(parents=True, exist_ok=True)
    files.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(downloads)]
    for name in SDISTS:
        subprocess.run([*pip, "--no-binary", name, name], check=True)
    for name in WHEELS:
        subprocess.run([*pip, name], check=True)
    _apt(folder.absolute(), downloads)
    for path in sorted(downloads.iterdir()):
        _unpack(path, files)


def _apt(folder: Path, downloads: Path) -> None:
    """Ask apt with lists of our own, since sources are not in everybody's."""
    own = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "sources"):
        (own / part).mkdir(parents=True, exist_ok=True)
    (own / "sources" / "debian.sources").write_text(
        _DEB_SRC.replace("Types: deb-src", "Types: deb deb-src")
    )
    options = [
        "Dir::Etc::sourcelist=/dev/null",
        f"Dir::Etc::sourceparts={own}/sources",
        f"Dir::State::Lists={own}/lists",
        f"Dir::Cache={own}/cache",
        "APT::Sandbox::User=root",
    ]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "download", *PACKAGES], check=True, cwd=downloads)
    subprocess.run([*apt, "source", "--download-only", *SOURCES], check=True, cwd=downloads)


def _unpack(path: Path, files: Path) -> None:
    if path.suffix == ".deb":
        subprocess.run(["dpkg", "-x", str(path), str(files / path.stem)], check=True)
    elif path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(files / path.stem)
    elif ".tar." in path.name and "debian.tar" not in path.name:
        with tarfile.open(path) as archive:
            archive.extractall(files / path.name.partition(".tar.")[0], filter="data")


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
