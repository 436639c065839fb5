"""The foundation of all rooms: contracts, errors, storage, processes, secrets."""
