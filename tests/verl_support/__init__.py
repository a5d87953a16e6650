"""What stock verl 0.9.1 lacks for machines without a GPU; for tests, and no part of the package.

`VERL_USE_EXTERNAL_MODULES=verl_support.cpu` loads it into every process of verl.
"""
