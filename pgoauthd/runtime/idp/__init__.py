"""Everything that talks to identity providers: keys, metadata, introspection, and the rules for connecting to them."""
