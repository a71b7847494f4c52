-- Times are milliseconds since 1970 in UTC, minutes and blocks are counted from there too.

CREATE TABLE instances (
    no     INTEGER PRIMARY KEY,
    id     TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL             -- JSON: agents::fleet::Record
) STRICT;

CREATE TABLE snapshots (
    instance INTEGER PRIMARY KEY REFERENCES instances (no),
    at       INTEGER NOT NULL,
    text     TEXT NOT NULL           -- JSON, as the agent sent it
) STRICT;

-- An id is never used twice: whoever follows the events goes on from the last one seen.
CREATE TABLE events (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    instance INTEGER,                -- null: the gateway itself
    what     TEXT NOT NULL           -- JSON: agents::events::What
) STRICT;
CREATE INDEX events_of_instance ON events (instance, id);

-- The last hour or two, a row for each snapshot. By time first, so that a fleet's snapshots of one
-- second are written side by side. Values are in the units of agents::snapshot::Point.
CREATE TABLE recent (
    minute     INTEGER NOT NULL,
    instance   INTEGER NOT NULL,
    cpu        INTEGER,
    mem        INTEGER,
    disk       INTEGER,
    containers INTEGER,
    PRIMARY KEY (minute, instance)
) STRICT, WITHOUT ROWID;

-- What is older, packed: many points in a row. See store/history.
CREATE TABLE history (
    instance INTEGER NOT NULL,
    step     INTEGER NOT NULL,       -- seconds from point to point: 60, 600 or 3600
    block    INTEGER NOT NULL,
    points   BLOB NOT NULL,
    PRIMARY KEY (instance, step, block)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- API keys and agent tokens: of the secret there is only its SHA-256.
CREATE TABLE keys (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('api', 'agent')),
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL,
    scopes     TEXT NOT NULL,        -- of an API key: words with commas between
    instance   TEXT,                 -- of an agent token: the only instance it may be
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
