"""Running programs that nobody has read: a confined process for each, and tests that stay outside it.

`run` starts `confine.py`, which closes itself in and becomes `program.py` (the completion) or `tests.py`
(the data set's tests). The two talk over a socket, in the plain values of `wire.py`.
"""
