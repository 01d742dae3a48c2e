"""What does pg_ident.conf say of a login? Its lines as PostgreSQL reads them, and which match; it never reads files."""
