"""Logs in once with a token, through psycopg and the libpq in its wheel, and says as JSON how it went.

It never shows the token.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psycopg

from tests.real.clients.oauth_token import provide_tokens


def main() -> None:
    if file := os.environ.get("TOKEN_FILE"):
        provide_tokens(Path(file).read_text)
    found = {"role": "", "identity": "", "error": "", "sqlstate": ""}
    try:
        with psycopg.connect(sys.argv[1]) as connection:
            row = connection.execute("SELECT current_user, coalesce(system_user, '')").fetchone()
            found["role"], found["identity"] = row or ("", "")
    except psycopg.Error as error:
        found |= {"error": str(error), "sqlstate": error.sqlstate or ""}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
