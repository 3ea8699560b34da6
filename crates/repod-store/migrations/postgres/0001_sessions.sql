-- Daemons that own sessions. `incarnation` rises with each start; only the newest one may write.
CREATE TABLE agent_owners (
    owner       TEXT    NOT NULL PRIMARY KEY,
    incarnation BIGINT  NOT NULL,
    expires_ms  BIGINT  NOT NULL
);

-- One durable conversation, by its caller's own name within a repo.
CREATE TABLE agent_sessions (
    repo_id          TEXT    NOT NULL,
    session_id       TEXT    NOT NULL,
    backend          TEXT    NOT NULL,
    agent            TEXT    NOT NULL,
    model            TEXT    NOT NULL,
    agent_session_id TEXT,
    directory        TEXT    NOT NULL,
    server_port      BIGINT ,
    generation       BIGINT  NOT NULL,
    status           TEXT    NOT NULL,
    config_hash      TEXT    NOT NULL,
    title            TEXT    NOT NULL,
    options          TEXT    NOT NULL,
    owner            TEXT,
    next_turn        BIGINT  NOT NULL,
    created_ms       BIGINT  NOT NULL,
    last_active_ms   BIGINT  NOT NULL,
    PRIMARY KEY (repo_id, session_id)
);

CREATE INDEX agent_sessions_recent ON agent_sessions (last_active_ms);

-- One prompt and everything until it has an outcome.
CREATE TABLE agent_turns (
    repo_id       TEXT    NOT NULL,
    session_id    TEXT    NOT NULL,
    turn          BIGINT  NOT NULL,
    turn_id       TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    error_name    TEXT,
    error_message TEXT,
    message_id    TEXT,
    generation    BIGINT  NOT NULL,
    incarnation   BIGINT  NOT NULL,
    input         BYTEA,
    begun_ms      BIGINT  NOT NULL,
    started_ms    BIGINT ,
    settled_ms    BIGINT ,
    next_event    BIGINT  NOT NULL,
    kept_events   BIGINT  NOT NULL,
    kept_bytes    BIGINT  NOT NULL,
    PRIMARY KEY (repo_id, session_id, turn),
    UNIQUE (repo_id, session_id, turn_id),
    FOREIGN KEY (repo_id, session_id) REFERENCES agent_sessions (repo_id, session_id) ON DELETE CASCADE
);

CREATE INDEX agent_turns_open ON agent_turns (repo_id, session_id, turn) WHERE settled_ms IS NULL;

-- What a turn told, in pieces: `events` lines of NDJSON, of which the first has the number `first`.
CREATE TABLE agent_turn_events (
    repo_id    TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    turn       BIGINT  NOT NULL,
    first      BIGINT  NOT NULL,
    events     BIGINT  NOT NULL,
    lines      BYTEA   NOT NULL,
    PRIMARY KEY (repo_id, session_id, turn, first),
    FOREIGN KEY (repo_id, session_id, turn) REFERENCES agent_turns (repo_id, session_id, turn) ON DELETE CASCADE
);
