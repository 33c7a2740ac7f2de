"""Lazy images: what is refused before decoding, what is decoded how, and that nothing is kept."""

import gc
import os
import pickle
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

import tasks
from rewards.errors import ImageProblem
from tasks.images import BadImage, FileImage, MemoryImage
from tasks.loaded import Reason


def refused(call) -> BadImage:
    with pytest.raises(ImageProblem) as caught:
        call()
    assert isinstance(caught.value, BadImage)
    return caught.value


@pytest.fixture
def folder(tmp_path, write_file, draw):
    """data/ with one image, and one outside of it."""
    write_file(tmp_path / "outside.png", draw(1))
    write_file(tmp_path / "data" / "a.png", draw(2))
    return tmp_path / "data"


@pytest.mark.parametrize("name", [
    "../outside.png", "x/../../outside.png", "/etc/hostname", "~/a.png", "C:\\a.png", "..\\outside.png",
    "\\\\server\\a.png", "images/..",
])
def test_names_that_leave_the_folder_are_refused(name, folder):
    assert refused(lambda: FileImage.inside(folder, name)).reason is Reason.OUTSIDE


def test_links_that_leave_the_folder_are_refused(folder):
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "up").symlink_to(folder.parent)
    for name in ("link.png", "up/outside.png"):
        problem = refused(lambda name=name: FileImage.inside(folder, name))
        assert str(problem) == f"image path leaves the data folder: {name} (a link to somewhere else)"


def test_links_inside_the_folder_are_followed(folder):
    (folder / "link.png").symlink_to(folder / "a.png")
    assert FileImage.inside(folder, "link.png").sha256 == FileImage.inside(folder, "a.png").sha256


@pytest.mark.parametrize("name", ["", "  ", "a\0.png"])
def test_no_name(name, folder):
    assert refused(lambda: FileImage.inside(folder, name)).reason is Reason.NO_IMAGE_NAMED


@pytest.mark.parametrize("name", ["b.png", "a.png/c.png", "x" * 5000 + ".png", "loop.png", "."])
def test_missing(name, folder):
    (folder / "loop.png").symlink_to("loop.png")
    assert refused(lambda: FileImage.inside(folder, name)).reason is Reason.MISSING_IMAGE


def test_a_named_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "pipe.png")
    assert refused(lambda: FileImage.inside(folder, "pipe.png")).reason is Reason.MISSING_IMAGE


def test_a_bomb_is_refused_by_its_header(folder, write_file, declaring):
    write_file(folder / "bomb.png", declaring(30_000, 30_000))
    image = FileImage.inside(folder, "bomb.png")
    tracemalloc.start()
    for call in (image.check, image.open):
        assert str(refused(call)) == (
            "image too large: bomb.png declares 30,000 x 30,000 pixels, more than 64,000,000")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_huge_file_is_refused_unread(folder):
    with (folder / "huge.png").open("wb") as file:
        file.truncate(300 * 2**20)  # sparse: takes no disk
    assert refused(FileImage.inside(folder, "huge.png").read).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "WEBP", "PNG", "JPEG"])
def test_every_listed_format_opens_as_rgb(kind, folder, write_file, draw):
    write_file(folder / "b", draw(3, kind))
    image = FileImage.inside(folder, "b")
    image.check()
    assert (image.open().mode, image.open().size) == ("RGB", (48, 40))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "WEBP", "PNG", "JPEG"])
def test_a_file_cut_in_half_is_damaged(kind, folder, write_file, draw):
    data = draw(3, kind, (300, 300))
    write_file(folder / "b", data[: len(data) // 2])
    assert refused(FileImage.inside(folder, "b").check).reason is Reason.DAMAGED


def test_other_formats_reach_no_decoder(folder, write_file):
    write_file(folder / "b.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert refused(FileImage.inside(folder, "b.png").check).reason is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_pixel_modes_become_rgb(mode, folder, write_file, draw):
    write_file(folder / "b", draw(3, "TIFF" if mode == "CMYK" else "PNG", mode=mode))
    assert FileImage.inside(folder, "b").open().mode == "RGB"


def test_sixteen_bit_grey_is_scaled_not_clipped(folder):
    Image.frombytes("I;16", (2, 1), bytes([0, 0x40, 0, 0xFF])).save(folder / "deep.png")
    opened = FileImage.inside(folder, "deep.png").open()
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(64, 64, 64), (255, 255, 255)]


def test_exif_orientation_is_applied(folder):
    image = Image.new("RGB", (20, 10), "white")
    image.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned a quarter clockwise
    image.save(folder / "turned.png", exif=exif)
    opened = FileImage.inside(folder, "turned.png").open()
    assert opened.size == (10, 20)
    assert opened.getpixel((9, 0)) == (0, 0, 0)


def test_the_hash_is_of_the_files_bytes(folder):
    import hashlib

    image = FileImage.inside(folder, "a.png")
    assert image.sha256 == hashlib.sha256((folder / "a.png").read_bytes()).hexdigest()
    assert image.read() == (folder / "a.png").read_bytes()


def test_a_file_that_changes_or_goes_away_is_noticed(folder, draw):
    image = FileImage.inside(folder, "a.png")
    assert image.sha256
    (folder / "a.png").write_bytes(draw(9))
    assert refused(image.open).reason is Reason.CHANGED
    (folder / "a.png").unlink()
    assert refused(image.open).reason is Reason.MISSING_IMAGE


def test_bad_images_can_cross_a_process_border(folder):
    problem = refused(lambda: FileImage.inside(folder, "../x"))
    again = pickle.loads(pickle.dumps(problem))
    assert (str(again), again.reason) == (str(problem), problem.reason)


def test_drawn_images_are_drawn_on_use(draw):
    image = MemoryImage(partial(draw, 4))
    again = pickle.loads(pickle.dumps(image))
    assert image.read() == again.read() == draw(4)
    assert image.sha256 == again.sha256
    assert image.open().size == (48, 40)


def test_holding_many_samples_keeps_no_pixels_and_no_files(tmp_path, write_file, draw, options_of):
    rows = []
    for n in range(60):
        write_file(tmp_path / f"pathmmu/images/{n}.jpg", draw(n, "JPEG", (1024, 1024)))
        rows.append({"No": n, "img": f"{n}.jpg", "question": "?", "options": options_of("x", "y"), "answer": "A"})
    write_file(tmp_path / "pathmmu/data.json", {"Atlas": {"test": rows}})
    handles = len(list(Path("/proc/self/fd").iterdir()))
    tasks.load("path", tmp_path, limit=1)[0].image.open()
    gc.collect()
    tracemalloc.start()
    samples = tasks.load("path", tmp_path)
    for sample in samples:
        sample.image.open()
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == 60
    assert kept < 60 * 10_000  # decoded they would be 188 MB
    assert peak < 20 * 2**20
    assert len(list(Path("/proc/self/fd").iterdir())) == handles


def test_importing_the_room_is_light():
    import subprocess
    import sys

    code = ("import sys, tasks, tasks.prompts; "
            "print([m for m in ('torch', 'transformers', 'lm_eval', 'datasets', 'numpy', 'PIL') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
