"""The documented layer in front of math-verify: where an answer stands, how it is read and compared.

`rules` lists what it does. `locate` finds the answer of a completion, `spelling` respells it, `reading`
takes it apart (`latex`, `quantity`, `units`), and `equality` compares it with the reading of the reference
answer: `value_equality` where both have values (`solutions`, `expressions`, `values`).

`locate` and `vocabulary` run in the caller's process, on any text, in linear time; everything else runs
in a worker that can be killed.
"""
