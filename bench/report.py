"""report.html: one run on one self-contained page. (The page is written by a later commit; the table is here.)"""

from bench.table import print_table

__all__ = ["print_table"]
