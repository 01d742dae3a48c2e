"""A real PostgreSQL 18, a small issuer and a scripted day of logins, to see pgoauthd at work in a minute."""
