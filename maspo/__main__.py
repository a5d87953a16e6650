"""`python -m maspo` is `maspo`."""

from maspo.cli import main

main()
