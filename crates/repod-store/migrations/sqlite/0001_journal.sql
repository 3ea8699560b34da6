-- "repd": the file says whose it is, so nobody else's is taken for it.
PRAGMA application_id = 1919250532;

-- One write that crossed repos, or was routed.
CREATE TABLE mutation (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    at_ms        INTEGER NOT NULL,
    from_repo    TEXT,
    from_session TEXT    NOT NULL,
    from_root    TEXT    NOT NULL,
    title        TEXT    NOT NULL,
    tool         TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    message      TEXT
) STRICT;

CREATE INDEX mutation_pending ON mutation (seq) WHERE state = 'pending';

-- One worktree it goes to.
CREATE TABLE mutation_part (
    seq       INTEGER NOT NULL REFERENCES mutation (seq) ON DELETE CASCADE,
    part      INTEGER NOT NULL,
    repo      TEXT    NOT NULL,
    directory TEXT    NOT NULL,
    branch    TEXT    NOT NULL,
    fence     INTEGER NOT NULL,
    PRIMARY KEY (seq, part)
) STRICT, WITHOUT ROWID;

-- One file there. No kind: no such file. A kind without bytes: the contents are no longer needed.
CREATE TABLE mutation_file (
    seq          INTEGER NOT NULL,
    part         INTEGER NOT NULL,
    file         INTEGER NOT NULL,
    path         BLOB    NOT NULL,
    before_kind  TEXT,
    before_bytes BLOB,
    after_kind   TEXT,
    after_bytes  BLOB,
    PRIMARY KEY (seq, part, file),
    FOREIGN KEY (seq, part) REFERENCES mutation_part (seq, part) ON DELETE CASCADE
) STRICT;
