"""lm-eval's own command line with this project's local backend known to it under the name `pathvlm`.

    python -m bench.lm_eval run --model pathvlm --model_args pretrained=CKPT --include_path tasks --tasks path,ct \\
        --metadata '{"data": "my-data"}'

lm-eval 0.4.13 makes the model before it imports anything a task names, and reads no entry points, so a backend from
outside has to be registered first; that is all this does. `lm_eval run --model hf-multimodal ...` needs none of it.
"""

from __future__ import annotations

import os
import sys

from rewards.errors import run_cli


def main(argv: object = None) -> int:
    """Hand the command line to lm-eval."""
    os.environ.setdefault("LMEVAL_HASHMM", "0")  # else it decodes and re-encodes every image to hash it
    import lm_eval.models  # noqa: F401  # the registry fills itself only while it is empty
    from lm_eval.__main__ import cli_evaluate

    import bench.harness  # noqa: F401  # registers the backend

    cli_evaluate()
    return 0


if __name__ == "__main__":
    sys.argv[0] = "lm_eval"
    run_cli(main)
