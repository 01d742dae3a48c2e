"""Is this token good for this role? Judges bearer tokens from evidence it is handed; never fetches, waits or logs."""
