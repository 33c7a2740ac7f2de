"""How fast phantom images are drawn, and whether two very different processes draw the same ones.

    python benchmarks/phantom_images.py                      both parts, 1,000 images a modality
    python benchmarks/phantom_images.py --images 100 --skip-speed

Speed is measured on one core (CPU seconds of this process), median of three rounds, at 64 and 224 px. The hash
part draws the same images in three fresh processes: hash seed 0 and one thread; hash seed 4242 and two threads;
and hash seed 7 with NumPy's vector instructions switched off, which stands in for another kind of CPU. It
compares the sha256 of every PNG and exits 1 when one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import numpy as np

from tasks.phantom.canvas import stream
from tasks.phantom.draw import draw, pixel_sha256, png_sha256
from tasks.phantom.facts import MODALITIES, sample_facts

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> int:
    """Run the chosen parts; 0 when all hashes agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="images a modality for the hash part")
    parser.add_argument("--size", type=int, default=64, help="their size in pixels")
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps({modality: hashes(modality, args.images, args.size) for modality in MODALITIES}))
        return 0
    print(f"{platform.platform()}, Python {platform.python_version()}, NumPy {np.__version__}")
    if not args.skip_speed:
        speed()
    return compare(args.images, args.size)


def speed(images: int = 60) -> None:
    """Print images a second and core."""
    print(f"{'modality':10}{'64 px':>10}{'224 px':>10}   images/s a core")
    for modality in MODALITIES:
        rng = stream(0, "benchmark " + modality)
        facts = [sample_facts(modality, rng) for _ in range(images)]
        rates = []
        for size in (64, 224):
            draw(modality, facts[0], 0, size)
            rounds = []
            for _ in range(3):
                start = time.process_time()
                for seed, one in enumerate(facts):
                    draw(modality, one, seed, size)
                rounds.append(images / (time.process_time() - start))
            rates.append(statistics.median(rounds))
        print(f"{modality:10}{rates[0]:10.0f}{rates[1]:10.0f}")


def hashes(modality: str, images: int, size: int) -> list[str]:
    """The sha256 of the PNG of every image; pixel hashes join in, so that both kinds are compared."""
    rng = stream(1, "hash " + modality)
    found = []
    for seed in range(images):
        image = draw(modality, sample_facts(modality, rng), seed, size).image
        found.append(png_sha256(image) + pixel_sha256(image)[:16])
    return found


def compare(images: int, size: int) -> int:
    """Draw in three unlike processes and print one line a modality."""
    print(f"\n{images} images a modality at {size} px, hash seed/threads 0/1, 4242/2, 7/1 without SIMD")
    plain = {"NPY_DISABLE_CPU_FEATURES": " ".join(simd_features())}
    unlike = [{"PYTHONHASHSEED": "0", **dict.fromkeys(THREADS, "1")},
              {"PYTHONHASHSEED": "4242", **dict.fromkeys(THREADS, "2")},
              {"PYTHONHASHSEED": "7", **dict.fromkeys(THREADS, "1"), **plain}]  # fmt: skip
    command = [sys.executable, __file__, "--worker", "--images", str(images), "--size", str(size)]
    runs = [json.loads(subprocess.run(command, env={**os.environ, **extra}, check=True, capture_output=True).stdout)
            for extra in unlike]  # fmt: skip
    differ = 0
    for modality in MODALITIES:
        wrong = sum(len(set(triple)) > 1 for triple in zip(*(run[modality] for run in runs), strict=True))
        differ += wrong
        digest = hashlib.sha256("".join(runs[0][modality]).encode()).hexdigest()[:16]
        distinct = len(set(runs[0][modality]))
        print(f"{modality:10}{images - wrong:6} of {images} identical, {distinct} distinct, sha256 over all {digest}")
    return 1 if differ else 0


def simd_features() -> list[str]:
    """Names of the instruction sets that NumPy picked at run time on this CPU."""
    config = np.show_config(mode="dicts")
    return list(config.get("SIMD Extensions", {}).get("found", [])) if isinstance(config, dict) else []


if __name__ == "__main__":
    sys.exit(main())
