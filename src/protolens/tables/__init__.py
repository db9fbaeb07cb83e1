"""Whole tables: models, data sets and seeds, each run made once, evaluated, and held against the others.

May use: report, evaluation, train, config. A table is read from a TOML file; nothing here computes with tensors.
"""

from protolens.tables.making import make_table
from protolens.tables.plan import Cell, Table, cells_of, read_table
from protolens.tables.rows import find, make_row

__all__ = ["Cell", "Table", "cells_of", "find", "make_row", "make_table", "read_table"]
