"""Fixtures for every room: small data in the two original layouts, drawn here, with every quirk and every bad row.

`data_root` is one such folder for the whole session (read only: copy it to change it). `source` is the same folder
and, with PATHVLM_REAL_DATA set, also the folder named there. `draw` makes image bytes, `write_json` a file.
"""

import io
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def image_bytes(seed: int, kind: str = "PNG", size: tuple[int, int] = (48, 40), mode: str = "RGB",
                **save: Any) -> bytes:
    """A patchwork of colours, different for every seed."""
    from PIL import Image

    rng = random.Random(seed)
    cells = Image.frombytes("RGB", (6, 5), rng.randbytes(90))
    buffer = io.BytesIO()
    cells.resize(size, Image.Resampling.NEAREST).convert(mode).save(buffer, kind, **save)
    return buffer.getvalue()


def png_declaring(width: int, height: int) -> bytes:
    """A tiny but valid PNG file whose header declares any size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
            + chunk(b"IEND", b""))


def put(path: Path, content: bytes | str | Any) -> Path:
    """Write bytes, text, or anything else as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def lettered(*texts: str) -> list[str]:
    return [f"{letter}) {text}" for letter, text in zip("ABCDEFGHIJKL", texts, strict=False)]


TISSUE = ("Normal colonic mucosa", "Tubular adenoma", "Signet ring carcinoma", "Chronic gastritis")


def pathmmu_rows(images: Path) -> dict[str, dict[str, list[Any]]]:
    """data.json with all subsets; the rows of PubMed/test carry the bad ones."""
    for number in range(1, 11):
        kind = ("PNG", "JPEG")[number % 2]
        put(images / f"{number:02}.{'png' if kind == 'PNG' else 'jpg'}", image_bytes(number, kind))

    def row(number: int, image: int, answer: str | None = None, options: Any = None, **more: Any) -> dict[str, Any]:
        options = lettered(*TISSUE) if options is None else options
        name = f"{image:02}.{'png' if image % 2 == 0 else 'jpg'}"
        return {"No": number, "img": name, "question": f"Which finding does case {number} show?", "options": options,
                "answer": options[number % len(options)] if answer is None else answer,
                "explanation": f"Field {number} shows glands. The other options need features that are absent."} | more

    put(images / "cut.png", image_bytes(90)[:-40])
    put(images / "cut.jpg", image_bytes(91, "JPEG", (300, 300))[:-600])
    put(images / "text.jpg", b"this is no image")
    put(images / "empty.png", b"")
    put(images / "bomb.png", png_declaring(30_000, 30_000))
    put(images / "pointer.png", LFS)
    put(images / "sub" / "nested.png", image_bytes(92))
    good = [row(1, 1), row(2, 1), row(3, 2, answer="D"), row(4, 3, answer="A) Normal colonic mucosa."),
            row(5, 4, img="sub/nested.png")]
    bad = [
        row(20, 1, img="absent.png"), row(21, 1, answer="E) Lymphoma"), row(22, 1, answer="A", options=[]),
        row(23, 1, options=None) | {"options": None}, row(24, 1, img="../../../secret.png"),
        row(25, 1, img="/etc/hostname"), row(26, 1, img="cut.png"), row(27, 1, img="cut.jpg"),
        row(28, 1, img="text.jpg"), row(29, 1, img="empty.png"), row(30, 1, img="bomb.png"),
        row(31, 1, img="pointer.png"), row(32, 1, options=["A) only one"], answer="A"),
        row(33, 1, options=lettered(*(f"choice {n}" for n in range(11))), answer="A"),
        row(34, 1, options=lettered("glands", "", "stroma"), answer="A"),
        row(35, 1, options=lettered("glands", "Glands.", "stroma"), answer="A"),
        row(36, 1, answer="A) Tubular adenoma"), row(37, 1, answer=None) | {"answer": None}, row(38, 1, question="  "),
        row(39, 1, img=None), "not an object", row(1, 1),
    ]
    return {
        "PubMed": {"val": [row(10, 5), row(11, 5)], "test": good + bad, "test_tiny": [row(1, 1), row(12, 6)]},
        "SocialPath": {"val": [], "test": [
            row(1, 7, answer="B", options=lettered("Lipoma", "Leiomyoma", "Schwannoma"), tw_id="90001", img_position=1,
                ref_web="")]},
        "EduContent": {"val": [row(1, 8)], "test": [
            row(2, 9, options=lettered("Amyloid", "Fibrin", "Mucin", "Keratin", "Colloid")), row(3, 9)]},
        "Atlas": {"val": [], "test": [row(1, 10, source_img="plate_1.jpg")]},
        "PathCLS": {"val": [], "test": [row(1, 2, options=lettered("Tumour", "Normal"), source_img="tile_1.png")]},
    }


PATH_DROPPED = {
    "missing image": 1, "answer not among the options": 1, "no options": 2, "image path leaves the data folder": 2,
    "damaged image": 2, "not an image": 2, "image too large": 1, "Git LFS pointer instead of the image": 1,
    "fewer than two options": 1, "more than ten options": 1, "empty option": 1, "repeated option": 1,
    "answer letter and text disagree": 1, "no answer": 1, "no question": 1, "no image named": 1, "malformed row": 1,
    "row repeated": 1,
}
OMNI = {"ct": ("Chest CT Scan", "modality"), "derm": ("ISIC2020", "modality_type"),
        "oct": ("Retinal OCT-C8", "modality_type"), "fundus": ("Diabetic Retinopathy", "modality_type")}


def omnimedvqa_rows(root: Path, name: str, modality_key: str, seed: int) -> list[dict[str, Any]]:
    """Six usable rows and two bad ones; the label stands in the image's path, as in the original."""
    stem = name.replace(" ", "_")
    rows = []
    for number, (kind, asked, gold, options) in enumerate([
        ("Modality Recognition", "How was this image made?", "Known method", ("Known method", "X-ray", "Scan", "PET")),
        ("Disease Diagnosis", "What is shown?", "Abnormal area.", ("Nothing", "Abnormal area", "Dust", "Hair")),
        ("Disease Diagnosis", "Is there a lesion?", "Yes", ("No", "Yes")),
        ("Anatomy Identification", "Which part is it?", "left side", ("Left side", "Right side", "Centre", "Edge")),
        ("Lesion Grading", "How severe is it?", "Mild", ("None", "Mild", "Severe")),
        ("Other Biological Attributes", "Is the subject an adult?", "No", ("Yes", "No")),
        ("Disease Diagnosis", "Unanswerable?", "Maybe", ("Yes", "No")),
        ("Disease Diagnosis", "Without an image?", "Yes", ("Yes", "No")),
    ]):
        label = gold.strip(".").replace(" ", "_")
        path = f"Images/{name}/test/{label}/{number // 2 * 2:04}.png"
        put(root / path, image_bytes(seed + number // 2 * 2))
        row = {"dataset": name, "question_id": f"{stem}_{number:04}", "question_type": kind, "question": asked,
               "gt_answer": gold, "image_path": path, modality_key: "made up"}
        row |= {f"option_{letter}": text for letter, text in zip("ABCD", options, strict=False)}
        rows.append(row)
    rows[5] |= {"option_C": None, "option_D": ""}
    rows[7]["image_path"] = f"Images/{name}/test/gone.png"
    return rows


OMNI_DROPPED = {"answer not among the options": 1, "missing image": 1}


def write_data(root: Path) -> Path:
    """The whole tree: pathmmu/ and omnimedvqa/."""
    put(root / "pathmmu" / "data.json", pathmmu_rows(root / "pathmmu" / "images"))
    for place, (name, key) in enumerate(OMNI.values()):
        rows = omnimedvqa_rows(root / "omnimedvqa", name, key, 1000 * (place + 1))
        put(root / "omnimedvqa" / "QA_information" / "Open-access" / f"{name}.json", rows)
    return root


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in the original layouts. Usable rows and drops are in `data_facts`."""
    base = tmp_path_factory.mktemp("world")
    put(base / "secret.png", image_bytes(666))
    return write_data(base / "data")


@pytest.fixture(scope="session")
def data_facts() -> SimpleNamespace:
    """`usable` and `dropped` per task for the default split of `data_root`, and `path_all` for every split."""
    usable = {"path": 10, "ct": 6, "derm": 6, "fundus": 6, "oct": 6}
    dropped = dict.fromkeys(OMNI, OMNI_DROPPED) | {"path": PATH_DROPPED}
    return SimpleNamespace(usable=usable, dropped=dropped, path_all=14)


def _sources() -> list[str]:
    return ["drawn", "real"] if os.environ.get("PATHVLM_REAL_DATA") else ["drawn"]


@pytest.fixture(params=_sources())
def source(request: pytest.FixtureRequest, data_root: Path) -> Path:
    """`data_root`, and the folder in PATHVLM_REAL_DATA when that is set."""
    return data_root if request.param == "drawn" else Path(os.environ["PATHVLM_REAL_DATA"])


@pytest.fixture(scope="session")
def draw() -> Callable[..., bytes]:
    """`draw(seed, kind="PNG", size=(48, 40), mode="RGB")` -> encoded image bytes."""
    return image_bytes


@pytest.fixture(scope="session")
def declaring() -> Callable[[int, int], bytes]:
    """`declaring(width, height)` -> a small PNG whose header claims that size."""
    return png_declaring


@pytest.fixture(scope="session")
def write_file() -> Callable[[Path, Any], Path]:
    """`write_file(path, content)`: bytes and text as they are, anything else as JSON; makes folders."""
    return put


@pytest.fixture(scope="session")
def options_of() -> Callable[..., list[str]]:
    """`options_of("a", "b")` -> ["A) a", "B) b"]."""
    return lettered
