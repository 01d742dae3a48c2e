"""`python -m pgoauthd` is `pgoauthd`."""

from pgoauthd.cli import main

main()
