"""Everything that touches the world: sockets, files, clocks and fetches; never decides about a token or a login."""
