-- Daemons that own sessions. `incarnation` rises with each start; only the newest one may write.
CREATE TABLE agent_owners (
    owner       TEXT    NOT NULL PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    expires_ms  INTEGER NOT NULL
) STRICT;

-- One durable conversation, by its caller's own name within a repo.
CREATE TABLE agent_sessions (
    repo_id          TEXT    NOT NULL,
    session_id       TEXT    NOT NULL,
    backend          TEXT    NOT NULL,
    agent            TEXT    NOT NULL,
    model            TEXT    NOT NULL,
    agent_session_id TEXT,
    directory        TEXT    NOT NULL,
    server_port      INTEGER,
    generation       INTEGER NOT NULL,
    status           TEXT    NOT NULL,
    config_hash      TEXT    NOT NULL,
    title            TEXT    NOT NULL,
    options          TEXT    NOT NULL,
    owner            TEXT,
    next_turn        INTEGER NOT NULL,
    created_ms       INTEGER NOT NULL,
    last_active_ms   INTEGER NOT NULL,
    PRIMARY KEY (repo_id, session_id)
) STRICT;

CREATE INDEX agent_sessions_recent ON agent_sessions (last_active_ms);

-- One prompt and everything until it has an outcome.
CREATE TABLE agent_turns (
    repo_id       TEXT    NOT NULL,
    session_id    TEXT    NOT NULL,
    turn          INTEGER NOT NULL,
    turn_id       TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    error_name    TEXT,
    error_message TEXT,
    message_id    TEXT,
    generation    INTEGER NOT NULL,
    incarnation   INTEGER NOT NULL,
    input         BLOB,
    begun_ms      INTEGER NOT NULL,
    started_ms    INTEGER,
    settled_ms    INTEGER,
    next_event    INTEGER NOT NULL,
    kept_events   INTEGER NOT NULL,
    kept_bytes    INTEGER NOT NULL,
    PRIMARY KEY (repo_id, session_id, turn),
    UNIQUE (repo_id, session_id, turn_id),
    FOREIGN KEY (repo_id, session_id) REFERENCES agent_sessions (repo_id, session_id) ON DELETE CASCADE
) STRICT;

CREATE INDEX agent_turns_open ON agent_turns (repo_id, session_id, turn) WHERE settled_ms IS NULL;

-- What a turn told, in pieces: `events` lines of NDJSON, of which the first has the number `first`.
CREATE TABLE agent_turn_events (
    repo_id    TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    turn       INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    events     INTEGER NOT NULL,
    lines      BLOB    NOT NULL,
    PRIMARY KEY (repo_id, session_id, turn, first),
    FOREIGN KEY (repo_id, session_id, turn) REFERENCES agent_turns (repo_id, session_id, turn) ON DELETE CASCADE
) STRICT;
