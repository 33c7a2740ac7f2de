"""Lets the tests of this folder import `reward_cases`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
