"""A login by hand to the demo's server, for visitors of `pgoauthd demo --keep`; the token comes from $TOKEN.

TOKEN=… python -m pgoauthd.demo.try_login --port 40123 --role alice
"""

from __future__ import annotations

import asyncio
import os
import sys

import click

from pgoauthd.runtime.pgclient import TcpAddress, login


@click.command()
@click.option("--port", type=int, required=True, help="The demo server's port on 127.0.0.1.")
@click.option("--role", default="alice", show_default=True)
@click.option("--database", default="app", show_default=True)
def main(port: int, role: str, database: str) -> None:
    """Log in as ROLE with the token in $TOKEN; without one, ask for the issuer as libpq does."""
    result = asyncio.run(
        login(TcpAddress("127.0.0.1", port), role=role, database=database, token=os.environ.get("TOKEN"))
    )
    if result.ok:
        click.echo(f"logged in: current_user is {result.rows[0][0]}")
        return
    click.echo(f"{result.sqlstate}: {result.message}")
    if result.discovery is not None:
        click.echo(f"the server says: {result.discovery.status}, {result.discovery.openid_configuration}")
    sys.exit(1)


if __name__ == "__main__":
    main()
