"""The applications over the rooms below: command line, doctor, tour, notebooks, report."""
