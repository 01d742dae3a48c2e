"""What does pg_ident.conf say of a login? Its lines as PostgreSQL reads them, and which of them match; reads no files."""
