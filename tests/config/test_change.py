from __future__ import annotations

import msgspec
import pytest

from pgoauthd.config.change import FIXED, describe_changes, files_named, fixed_keys_changed
from pgoauthd.config.values import (
    Callout,
    Cluster,
    Config,
    History,
    Introspection,
    Issuer,
    Log,
    Notify,
    Probe,
    State,
    Web,
)

ISSUER = Issuer(issuer="https://id.example", audiences=("a",), name="people")
CLUSTER = Cluster(name="main", logs=("/log",))
PROBE = Probe(name="kong", host="db.example", user="kong", database="kong", oauth_client_id="kong")
NOTIFY = Notify(name="ops", kind="webhook", url="https://chat.example/secret")


@pytest.mark.parametrize(
    ("new", "key"),
    [
        (Config(callout=Callout(socket="/run/other.sock")), "callout.socket"),
        (Config(web=Web(listen="127.0.0.1:1")), "web.listen"),
        (Config(state=State(path="/other.db")), "state.path"),
        (Config(state=State(verdicts_path="/other")), "state.verdicts_path"),
        (Config(log=Log(level="debug")), "log.level"),
        (Config(log=Log(format="json")), "log.format"),
    ],
)
def test_what_is_used_once_at_the_start_cannot_change(new: Config, key: str) -> None:
    (problem,) = fixed_keys_changed(Config(), new)
    assert problem.where == key
    assert "restart" in problem.remedy


def test_every_table_that_is_used_once_is_fixed_whole() -> None:
    for table in (Web, State, Log):
        fixed = {key for name, key in FIXED if name == table.__name__.lower()}
        assert fixed == set(table.__struct_fields__)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (Config(), Config(issuers=(ISSUER,)), "issuer people added"),
        (Config(issuers=(ISSUER,)), Config(), "issuer people removed"),
        (
            Config(issuers=(ISSUER,)),
            Config(issuers=(Issuer(issuer="https://id.example", audiences=("b",), name="people", leeway_seconds=1),)),
            "issuer people changed: audiences, leeway_seconds",
        ),
        (Config(clusters=(CLUSTER,)), Config(), "cluster main removed"),
        (Config(), Config(notify=(NOTIFY,)), "notify ops added"),
        (Config(), Config(probes=(PROBE,)), "probe kong added"),
        (Config(), Config(callout=Callout(max_connections=1)), "callout changed: max_connections"),
        (Config(), Config(history=History(keep_days=1)), "history changed: keep_days"),
    ],
)
def test_each_difference_is_said(old: Config, new: Config, words: str) -> None:
    assert describe_changes(old, new) == (words,)


def test_another_order_is_a_difference() -> None:
    two = (ISSUER, Issuer(issuer="https://other.example", audiences=("a",)))
    assert describe_changes(Config(issuers=two), Config(issuers=two[::-1])) == ("order of the issuer tables changed",)


def test_two_configurations_are_the_same_where_nothing_is_said() -> None:
    for field in Config.__struct_fields__:
        told = {"issuers", "clusters", "notify", "probes", "callout", "history", "reload", "outcomes"}
        assert field in told | {table for table, _ in FIXED}, f"a change of {field} would go unnoticed"


def test_no_value_is_said() -> None:
    other = Notify(name="ops", kind="webhook", url="https://chat.example/other-secret")
    (words,) = describe_changes(Config(notify=(NOTIFY,)), Config(notify=(other,)))
    assert words == "notify ops changed: url"


def test_all_files_that_an_issuer_names_are_watched() -> None:
    asked = Introspection(client_id="c", client_secret_file="/4", private_key_file="/5")
    issuer = Issuer(
        issuer="https://id.example",
        audiences=("a",),
        ca_file="/1",
        tls_certificate_file="/2",
        tls_key_file="/3",
        introspection=asked,
    )
    assert files_named(Config(issuers=(issuer,))) == {"/1", "/2", "/3", "/4", "/5"}
    fields = (*Issuer.__struct_fields__, *Introspection.__struct_fields__)
    assert sum(field.endswith("_file") for field in fields) == 5


def test_all_files_that_a_probe_names_are_watched() -> None:
    files = {"sslrootcert": "/1", "ca_file": "/2", "oauth_client_secret_file": "/3", "oauth_password_file": "/4"}
    probe = msgspec.structs.replace(PROBE, **files)
    assert files_named(Config(probes=(probe,))) == set(files.values())
    named = {field for field in Probe.__struct_fields__ if field.endswith("_file")} | {"sslrootcert"}
    assert named == set(files)
