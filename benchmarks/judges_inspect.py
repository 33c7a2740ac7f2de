"""The inspect_ai side of judges.py: `n` stored answers scored by model_graded_qa on the local server.

    python benchmarks/judges_inspect.py URL N CONCURRENCY      # in a virtual environment that has inspect_ai

Started by judges.py; prints the seconds of the evaluation. Imports nothing of this project.
"""

import os
import sys
import tempfile
import time

url, n, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.environ["BENCH_API_KEY"], os.environ["BENCH_BASE_URL"] = "none", f"{url}/v1"

from inspect_ai import Task  # noqa: E402
from inspect_ai import eval as inspect_eval  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import ModelOutput  # noqa: E402
from inspect_ai.scorer import model_graded_qa  # noqa: E402
from inspect_ai.solver import solver  # noqa: E402


@solver
def stored():
    """Puts the stored answer in place of a generation."""

    async def solve(state, generate):
        state.output = ModelOutput.from_content("stored", state.metadata["answer"])
        return state

    return solve


def answers(count):
    """Chains like those of judges.py."""
    chain = "crowded glands with pink cytoplasm are seen, so option A is excluded; " * 10
    return [
        Sample(input="Which tissue is shown?", target="B) carcinoma",
               metadata={"answer": f"Case {number}: {chain} B) carcinoma"})
        for number in range(count)
    ]


def run(count):
    """Seconds for `count` answers."""
    grader = "openai-api/bench/judge"
    task = Task(dataset=answers(count), solver=stored(), scorer=model_graded_qa(model=grader))
    with tempfile.TemporaryDirectory() as logs:
        started = time.perf_counter()
        (log,) = inspect_eval(task, model=grader, max_connections=concurrency, max_samples=concurrency, log_dir=logs,
                              display="none")
        seconds = time.perf_counter() - started
    assert log.status == "success", log.error
    assert log.results.scores[0].metrics["accuracy"].value == 1.0
    return seconds


run(2)  # imports and first connection
print(run(n))
