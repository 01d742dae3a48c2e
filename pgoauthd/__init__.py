"""pgoauthd validates OAuth bearer tokens for PostgreSQL and says why each login succeeded or failed."""

__version__ = "0.1.0"
