"""What every room stands on: contracts, errors, storage, processes, secrets."""
