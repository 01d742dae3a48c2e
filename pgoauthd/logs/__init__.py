"""What did the server say? Turns bytes of a PostgreSQL log into records and events; never opens a file."""
