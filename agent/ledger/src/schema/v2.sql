-- The audit chain. Each database begins its own, so that a piece of another box's chain never fits.
INSERT INTO meta VALUES ('audit_chain', lower(hex(randomblob(16))));
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY, happened INTEGER NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, source TEXT NOT NULL,
    action TEXT NOT NULL, target TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL, correlation TEXT NOT NULL,
    previous BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE audit_checkpoints (
    seq INTEGER PRIMARY KEY, head BLOB NOT NULL, count INTEGER NOT NULL, made INTEGER NOT NULL,
    public_key BLOB NOT NULL, signature BLOB NOT NULL
) STRICT;
-- "Pruned up to seq, whose hash was this": what stands in for the entries that retention took away.
CREATE TABLE audit_anchors (
    seq INTEGER PRIMARY KEY, head BLOB NOT NULL, made INTEGER NOT NULL, public_key BLOB NOT NULL, signature BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_insert BEFORE INSERT ON audit
    WHEN NEW.seq <> 1 + max(coalesce((SELECT max(seq) FROM audit), 0), coalesce((SELECT max(seq) FROM audit_anchors), 0))
    BEGIN SELECT raise(ABORT, 'audit entries follow each other without a gap'); END;
CREATE TRIGGER audit_update BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_delete BEFORE DELETE ON audit
    WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit_anchors), 0)
    BEGIN SELECT raise(ABORT, 'audit entries are never deleted, but behind an anchor'); END;
CREATE TRIGGER audit_checkpoint_insert BEFORE INSERT ON audit_checkpoints
    WHEN NEW.seq <= coalesce((SELECT max(seq) FROM audit_checkpoints), 0)
    BEGIN SELECT raise(ABORT, 'audit checkpoints follow each other'); END;
CREATE TRIGGER audit_checkpoint_update BEFORE UPDATE ON audit_checkpoints
    BEGIN SELECT raise(ABORT, 'audit checkpoints are never changed'); END;
CREATE TRIGGER audit_checkpoint_delete BEFORE DELETE ON audit_checkpoints
    WHEN OLD.seq > coalesce((SELECT max(seq) FROM audit_anchors), 0)
    BEGIN SELECT raise(ABORT, 'audit checkpoints are never deleted, but behind an anchor'); END;
CREATE TRIGGER audit_anchor_insert BEFORE INSERT ON audit_anchors
    WHEN NEW.seq <= coalesce((SELECT max(seq) FROM audit_anchors), 0)
    BEGIN SELECT raise(ABORT, 'audit anchors follow each other'); END;
CREATE TRIGGER audit_anchor_update BEFORE UPDATE ON audit_anchors
    BEGIN SELECT raise(ABORT, 'audit anchors are never changed'); END;
CREATE TRIGGER audit_anchor_delete BEFORE DELETE ON audit_anchors
    WHEN OLD.seq >= (SELECT max(seq) FROM audit_anchors)
    BEGIN SELECT raise(ABORT, 'the newest audit anchor is never deleted'); END;

-- Notes: what was granted, what is unspent, what was burned by whom. There is no balance to get out of step.
CREATE TABLE mints (source TEXT PRIMARY KEY, amounts TEXT NOT NULL, minted INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE notes (
    serial TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount > 0), origin TEXT NOT NULL, made INTEGER NOT NULL,
    burned_by TEXT, burned INTEGER, CHECK ((burned_by IS NULL) = (burned IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX notes_unspent ON notes (amount, serial) WHERE burned_by IS NULL;
CREATE INDEX notes_burned ON notes (burned_by) WHERE burned_by IS NOT NULL;
CREATE TABLE spends (
    run TEXT PRIMARY KEY, amount INTEGER NOT NULL, change TEXT, balance INTEGER NOT NULL, spent INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER note_insert BEFORE INSERT ON notes WHEN EXISTS (SELECT 1 FROM notes WHERE serial = NEW.serial)
    BEGIN SELECT raise(ABORT, 'a serial is used once'); END;
CREATE TRIGGER note_update BEFORE UPDATE ON notes
    WHEN OLD.burned_by IS NOT NULL OR NEW.burned_by IS NULL OR NEW.serial <> OLD.serial OR NEW.amount <> OLD.amount
        OR NEW.origin <> OLD.origin OR NEW.made <> OLD.made
    BEGIN SELECT raise(ABORT, 'a note is burned once and otherwise never changed'); END;
CREATE TRIGGER note_delete BEFORE DELETE ON notes
    BEGIN SELECT raise(ABORT, 'notes are never deleted'); END;

CREATE TABLE licences (
    id TEXT PRIMARY KEY, document TEXT NOT NULL, installed INTEGER NOT NULL, removed INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE receipts (run TEXT PRIMARY KEY, body TEXT NOT NULL, made INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    account TEXT NOT NULL, key TEXT NOT NULL, operation TEXT NOT NULL, body_hash BLOB NOT NULL, begun INTEGER NOT NULL,
    status INTEGER, content_type TEXT, body BLOB, PRIMARY KEY (account, key)
) STRICT;
CREATE INDEX idempotency_begun ON idempotency (begun);

CREATE TABLE accounts (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, enabled INTEGER NOT NULL, password TEXT, totp_secret TEXT, totp_step INTEGER,
    recovery TEXT NOT NULL, epoch INTEGER NOT NULL, created INTEGER NOT NULL, password_changed INTEGER, last_login INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
    hash BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE, epoch INTEGER NOT NULL,
    created INTEGER NOT NULL, last_seen INTEGER NOT NULL, ends INTEGER NOT NULL, source TEXT NOT NULL, user_agent TEXT NOT NULL,
    stepped_up_until INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_account ON sessions (account);
CREATE TABLE tokens (
    id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE, label TEXT NOT NULL,
    prefix TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
    last_used INTEGER, revoked INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_account ON tokens (account);
CREATE TABLE certificates (
    fingerprint BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE, label TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_account ON certificates (account);

CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, state TEXT NOT NULL, actor TEXT NOT NULL,
    started INTEGER NOT NULL, ended INTEGER, sentence TEXT NOT NULL, plan BLOB NOT NULL, record BLOB, receipt TEXT
) STRICT;
CREATE INDEX runs_started ON runs (started);
