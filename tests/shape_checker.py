"""What compares a call with its annotations: an integer counts as a float, as in Python."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
