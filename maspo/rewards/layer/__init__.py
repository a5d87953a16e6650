"""The documented layer in front of math-verify: where an answer stands, how it is read and compared.

`rules` lists what it does. `locate` and `vocabulary` run in the caller's process, on any text, in linear
time; everything else runs in a worker that can be killed.
"""
