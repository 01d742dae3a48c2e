"""`pgoauthd map`: what a user name map does for an identity, as a table or as JSON; the deciding is `mapping`'s."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pgoauthd.errors import IdentFileError
from pgoauthd.mapping.effects import Effect, SureRoles, effects, sure_roles
from pgoauthd.mapping.evaluation import predict
from pgoauthd.mapping.identfile import shown
from pgoauthd.mapping.identmap import IdentMap
from pgoauthd.mapping.prediction import Expected, MapPrediction
from pgoauthd.runtime.identfiles import Disk, read_ident_map

MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class MapQuestion:
    """The command's options, as given."""

    path: Path
    map: str
    identity: str
    role: str | None


def answer(question: MapQuestion, *, as_json: bool) -> int:
    """Print what the map does and return the exit status. OSError and IdentFileError go up to the command line."""
    ident_map = _read(question.path)
    found = effects(ident_map, question.map, question.identity, question.role)
    roles = sure_roles(ident_map, question.map, question.identity) if question.role is None else None
    prediction = None
    if question.role is not None:
        prediction = predict(ident_map, question.map, question.identity, question.role)
    if as_json:
        _print_json(question, found, roles, prediction)
    else:
        _print_table(question, found, _summary(ident_map, question, roles, prediction))
    if prediction is not None:
        return 0 if prediction.expected is Expected.MATCH else 1
    return 0 if roles is not None and (roles.names or roles.every) else 1


def _read(path: Path) -> IdentMap:
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    ident_map = read_ident_map(str(path.absolute()), Disk())
    if ident_map.bad:
        problems = [str(bad) for bad in ident_map.bad[:MAX_PROBLEMS]]
        more = len(ident_map.bad) - len(problems)
        problems += [f"and {more} more"] if more else []
        remedy = "correct it: PostgreSQL takes none of its lines, and goes on with those that it had"
        raise IdentFileError("\n".join([f"{path} cannot be used; {remedy}", *problems]))
    return ident_map


def _print_json(
    question: MapQuestion, found: list[Effect], roles: SureRoles | None, prediction: MapPrediction | None
) -> None:
    members: dict[str, Any] = {
        "map": shown(question.map),
        "identity": shown(question.identity),
        "role": shown(question.role) if question.role is not None else None,
        "lines": [
            {"file": effect.line.file, "line": effect.line.number, "text": effect.line.text, "does": effect.does}
            for effect in found
        ],
    }
    if roles is not None:
        members["roles"] = ("all",) if roles.every else roles.names
        members["every_role"] = roles.every
    if prediction is not None:
        members["prediction"] = msgspec.to_builtins(prediction)
    sys.stdout.buffer.write(msgspec.json.encode(members) + b"\n")
    sys.stdout.buffer.flush()


def _print_table(question: MapQuestion, found: list[Effect], summary: str) -> None:
    # rich takes long to import: only here
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from pgoauthd.report import open_console  # noqa: PLC0415
    from pgoauthd.telemetry.log import printable  # noqa: PLC0415

    console = open_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("line", justify="right")
    table.add_column("text", overflow="fold")
    table.add_column(Text(f"for {printable(question.identity)}"), overflow="fold")
    for effect in found:
        where = str(effect.line.number)
        if Path(effect.line.file) != question.path.absolute():
            where = f"{Path(effect.line.file).name}:{where}"
        style = "green" if effect.lets_in else ""
        table.add_row(
            Text(printable(where)), Text(printable(effect.line.text)), Text(printable(effect.does), style=style)
        )
    if found:
        console.print(table)
    console.print(Text(printable(summary)))


def _summary(
    ident_map: IdentMap, question: MapQuestion, roles: SureRoles | None, prediction: MapPrediction | None
) -> str:
    if prediction is not None:
        return prediction.message
    if question.map not in ident_map.maps:
        names = ", ".join(sorted(ident_map.maps)) or "none"
        return f'There is no map "{question.map}" in {ident_map.path}; maps there: {names}.'
    if roles is None or not (roles.every or roles.names):
        return f'There is no role that "{question.identity}" can be for sure by map "{question.map}".'
    return f"Can be for sure: {'every role' if roles.every else ', '.join(roles.names)}"
