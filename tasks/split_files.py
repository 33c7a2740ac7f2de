"""A folder of splits on disk: rows, images named by content, a manifest with hashes; and the check against overlap.

    DIR/sft.jsonl rl.jsonl val.jsonl test.jsonl     every split whole
    DIR/sft-500.jsonl ... rl-250.jsonl ...          nested subsets: the first rows of the split
    DIR/images/<sha256>.<ext>   DIR/manifest.json

Rows are the authors' derived rows with a few more fields, so that SFT, GRPO and `tasks.load` read the same files.
Must not import torch or lm_eval.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards.errors import ImageProblem, UserError
from rewards.types import Sample
from tasks.derived import problem_text, solution_text
from tasks.files import read_json, read_text
from tasks.fingerprints import Fingerprint, fingerprint, same_content
from tasks.images import FORMATS, FileImage

KIND = "pathvlm-splits/1"
SPLITS = ("sft", "rl", "val", "test")
_SUFFIX = {"JPEG": "jpg", "MPO": "jpg"}


def row(sample: Sample, image: str) -> dict[str, Any]:
    """One sample as a row: the authors' three fields, what rewards read (`rewards.adapters`), where it came from."""
    return {
        "image": image, "problem": problem_text(sample.question, sample.options),
        "solution": solution_text(sample.answer, sample.reference), "question": sample.question,
        "options": list(sample.options), "answer_index": sample.answer_index, "id": sample.id, "task": sample.task,
        "source_suite": sample.suite, "source_split": sample.split, "subset": sample.subset,
        "question_type": sample.question_type, "image_sha256": sample.image_sha256,
    }


def write(folder: Path, splits: Mapping[str, Sequence[Sample]], nested: Mapping[str, Sequence[int]],
          about: Mapping[str, Any]) -> dict[str, Any]:
    """Write rows, images and manifest into an existing empty folder; returns the manifest."""
    (folder / "images").mkdir()
    files: dict[str, Any] = {}
    for split, samples in splits.items():
        rows = [row(sample, _copy_image(sample, folder)) for sample in samples]
        for name, size in [(split, len(rows)), *((f"{split}-{size}", size) for size in nested[split])]:
            text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in rows[:size])
            (folder / f"{name}.jsonl").write_text(text, encoding="utf-8", newline="\n")
            files[name] = summary(samples[:size]) | {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    manifest = {"kind": KIND, **about, "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Counts for the manifest: questions, images, by subset, by answer letter."""
    return {
        "questions": len(samples), "images": len({s.image_sha256 for s in samples}),
        "by_subset": dict(sorted(Counter(s.subset for s in samples).items())),
        "by_letter": dict(sorted(Counter(s.answer_letter for s in samples).items())),
    }


def verify(folder: Path) -> dict[str, Any]:
    """Check a folder of splits against its manifest and for overlap; returns the manifest.

    Every file must have its noted hash, every image the content its name says, every nested subset must begin its
    split, and no image (same bytes, same pixels, or nearly the same picture) nor id may stand in two of the splits.
    Raises: UserError naming what is wrong, overlap first.
    """
    manifest = read_json(folder / "manifest.json", "the splits' manifest.json")
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise UserError(f"{folder / 'manifest.json'} is no manifest of splits (kind {KIND}): was this folder made by "
                        "`python -m tasks.splits`?")
    noted = manifest.get("files")
    if not isinstance(noted, dict) or not noted:
        raise UserError(f"{folder / 'manifest.json'} lists no files")
    texts = {name: read_text(folder / f"{name}.jsonl", f"split {name}") for name in noted}
    rows = {name: _parsed(text, name) for name, text in texts.items()}
    problems = _overlap(folder, {name: found for name, found in rows.items() if name in SPLITS},
                        manifest.get("near_bits"))
    for name, text in texts.items():
        if hashlib.sha256(text.encode()).hexdigest() != noted[name].get("sha256"):
            problems.append(f"{name}.jsonl is not the file the manifest describes")
        whole = rows.get(name.partition("-")[0], [])
        if rows[name] != whole[: len(rows[name])]:
            problems.append(f"{name}.jsonl is not the beginning of its split")
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise UserError(f"splits in {folder} are refused: {'; '.join(problems[:5])}{more}; build them again with "
                        "`python -m tasks.splits`")
    return manifest


def _overlap(folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]], near_bits: int | None) -> list[str]:
    problems: list[str] = []
    prints: list[Fingerprint] = []
    places: list[str] = []
    ids: dict[str, str] = {}
    for split, items in rows.items():
        for item in items:
            owner = ids.setdefault(str(item.get("id")), split)
            if owner != split:
                problems.append(f"question {item.get('id')} is in {owner} and {split}")
        for name in sorted({str(item.get("image")) for item in items}):
            try:
                prints.append(fingerprint(FileImage.inside(folder, name)))
            except ImageProblem as problem:
                problems.append(f"{split}: {problem}")
                continue
            places.append(f"{split}: {name}")
            if prints[-1].content != Path(name).stem:
                problems.append(f"{split}: {name} does not have the content its name says")
    for place, first in zip(places, same_content(prints, near_bits), strict=True):
        if places[first].partition(":")[0] != place.partition(":")[0]:
            problems.insert(0, f"the same image is in two splits ({places[first]}, {place})")
    return problems


def _parsed(text: str, name: str) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as problem:
        raise UserError(f"{name}.jsonl has a broken line ({problem.msg}): build the splits again") from problem


def _copy_image(sample: Sample, folder: Path) -> str:
    """Put the image under its content's name, as a hard link where the disk allows; returns the row's path."""
    from PIL import Image

    image = sample.image
    data = image.read()
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        kind = str(opened.format)
    suffix = _SUFFIX.get(kind, kind.lower())
    name = f"images/{image.sha256}.{suffix}"
    target = folder / name
    if not target.exists():
        try:
            if not isinstance(image, FileImage):
                raise OSError
            os.link(image.path, target)
        except OSError:
            target.write_bytes(data)
    return name
