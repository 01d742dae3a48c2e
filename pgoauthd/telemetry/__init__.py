"""How it is said: metrics and the daemon's own log; never decides anything."""
