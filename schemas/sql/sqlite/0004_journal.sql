-- The access journal, and keys that expire.

-- Who read what. A chain for each writer: `mac` is a keyed hash over the row and the `mac` of the row before it, so that
-- no row can be changed, taken out or moved without the key. What tells about a person is in `entry`, sealed.
CREATE TABLE journal (
    chain INTEGER NOT NULL, -- the writer
    nr    INTEGER NOT NULL, -- 1, 2, 3 … without a gap
    id    BLOB    NOT NULL, -- UUIDv7, to which `entry` is bound
    at    INTEGER NOT NULL,
    entry BLOB    NOT NULL, -- sealed: who, what, from where, outcome, purpose
    mac   BLOB    NOT NULL, -- 32 bytes
    PRIMARY KEY (chain, nr)
) WITHOUT ROWID;

-- Whom a row is about: a keyed hash of each patient. bucket = nr / 4096.
CREATE TABLE journal_patient (
    chain  INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    hash   INTEGER NOT NULL,
    nr     INTEGER NOT NULL,
    PRIMARY KEY (chain, bucket, hash, nr)
) WITHOUT ROWID;

-- Where a chain begins once its oldest rows have been taken out: the last row that is gone, its `mac`, and a keyed hash
-- over both.
CREATE TABLE journal_start (
    chain INTEGER PRIMARY KEY,
    nr    INTEGER NOT NULL,
    mac   BLOB    NOT NULL,
    proof BLOB    NOT NULL
);

-- The program itself only adds. (Who can write the file can drop these; the chain is what shows it.)
CREATE TRIGGER journal_is_not_changed BEFORE UPDATE ON journal
BEGIN
    SELECT RAISE(ABORT, 'the journal is only added to');
END;
CREATE TRIGGER journal_is_kept BEFORE DELETE ON journal
WHEN OLD.nr > coalesce((SELECT nr FROM journal_start WHERE chain = OLD.chain), 0)
BEGIN
    SELECT RAISE(ABORT, 'the journal is only added to');
END;

ALTER TABLE api_key ADD COLUMN expires_at INTEGER;
