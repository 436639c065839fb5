"""``python -m etabli``."""

from etabli.app.cli import main

main()
