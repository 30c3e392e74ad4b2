"""`python -m vsalient`."""

from vsalient.cli import main

main()
