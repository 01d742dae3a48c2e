"""The tables of the state file; never reads or writes a row.

`PRAGMA user_version` is the version. All tables change in one transaction, so they always fit each other.
"""

from __future__ import annotations

VERSION = 2

TABLES = """
CREATE TABLE head (
    name TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE cluster (
    name TEXT PRIMARY KEY,
    positions BLOB NOT NULL,
    engine BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE session (
    cluster TEXT NOT NULL,
    key NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (cluster, key)
) WITHOUT ROWID;
CREATE TABLE silenced (
    cluster TEXT NOT NULL,
    key NOT NULL,
    place INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (cluster, key)
) WITHOUT ROWID;
CREATE TABLE verdict (
    session_id TEXT PRIMARY KEY,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter (
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (name, labels)
) WITHOUT ROWID;
CREATE TABLE outcome (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    cluster TEXT NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    method TEXT NOT NULL,
    role TEXT,
    identity TEXT,
    client_addr TEXT,
    body BLOB NOT NULL
);
CREATE INDEX outcome_time ON outcome (time);
"""
"""`outcome.body` is the JSON of docs/outcome.md with the member `id`; the columns before it repeat what is asked for
most, redacted in the same way. `labels` is a JSON array; `key` a session id or, where the log has none, a process id,
and has no type, since SQLite would take some session ids for numbers."""
