"""``python -m etabli``."""

from etabli.cli import main

main()
