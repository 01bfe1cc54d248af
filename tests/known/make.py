#!/usr/bin/env python3
"""Regenerates known answers: make.py [families]. Needs PyTorch (Debian: python3-torch)."""
import importlib
import pathlib
import sys

folder = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(folder))
from known import Known  # noqa: E402

names = sys.argv[1:] or sorted(p.stem for p in folder.glob("*.py") if p.stem not in ("known", "make"))
for name in names:
    k = Known()
    family = importlib.import_module(name)
    if not hasattr(family, "cases"):
        continue  # what families share
    family.cases(k)
    (folder / (name + ".lua")).write_text(k.text(name))
    print("%s: %d cases" % (name, len(k.rows)))
