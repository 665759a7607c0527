-- The store, version 1.
--
-- Times are microseconds since 1970 (UTC). Columns that say "sealed" hold AES-256-GCM over lz4, bound to their row and
-- column. Hashes are HMAC-SHA-256 under the hash key, cut to 8 bytes. Keys are integers that grow, so that new rows
-- land side by side; the same tables serve PostgreSQL (BLOB = bytea, INTEGER = bigint).

-- What the store is: its format, its clinic, its wrapped keys.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE channel (
    nr   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE destination (
    nr      INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL REFERENCES channel (nr),
    name    TEXT NOT NULL,
    UNIQUE (channel, name)
);

-- One thing received. `seq` is the order. Narrow, so that a listing that filters reads little.
CREATE TABLE message (
    seq         INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL, -- UUIDv7
    channel     INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    flags       INTEGER NOT NULL, -- 1: its control id came before with another body
    repeats     INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    length      INTEGER NOT NULL, -- bytes of the body
    digest      BLOB,             -- 8 bytes: channel, sender, control id; 8 bytes: those and the content. None: no dedup
    replay_of   BLOB,             -- UUID
    wrote       BLOB,             -- 25 bytes for each aggregate written: kind, id, version
    head        BLOB    NOT NULL  -- sealed: sender, control id, type, headers, failure, candidates
);
-- UUIDv7 grows, so that this index does too.
CREATE UNIQUE INDEX message_id ON message (id);
-- What a person has to look at; few.
CREATE INDEX message_trouble ON message (state, seq) WHERE state IN (4, 5);

-- The bytes of a message, sealed; or the name of a blob, sealed.
CREATE TABLE body (
    seq  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
);

-- A message owed to one destination: id = 1024 * message + n. States 0 and 1 take no byte, so that marking one as sent
-- overwrites in place.
CREATE TABLE delivery (
    id          INTEGER PRIMARY KEY,
    destination INTEGER NOT NULL,
    state       INTEGER NOT NULL,
    due         INTEGER,
    body        BLOB -- sealed: content type and bytes; none: those of the message
);
CREATE INDEX delivery_waiting ON delivery (destination, id) WHERE state IN (0, 2, 4, 5, 6);
CREATE INDEX delivery_trouble ON delivery (state, id) WHERE state IN (2, 3, 4, 5, 6, 7, 8);

-- One try of a delivery: id = 4096 * delivery + number.
CREATE TABLE attempt (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    verdict INTEGER NOT NULL, -- 0 accepted, 1 pending, 2 refused, 3 retry, 4 unsure
    note    BLOB              -- sealed: why, reference, response
);

-- What messages are found by. bucket = 8 * (message / 4096) + kind; kind 0 repeats, 1 control id, 2 patient, 3 visit,
-- 4 order. Hashes fall at random only within the newest buckets.
CREATE TABLE key (
    bucket  INTEGER NOT NULL,
    hash    INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (bucket, hash, message)
) WITHOUT ROWID;

-- How many there are of each state: messages by channel (what = 0), deliveries by destination (what = 1).
CREATE TABLE tally (
    what  INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    state INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (what, owner, state)
) WITHOUT ROWID;

-- The newest version of each aggregate.
CREATE TABLE aggregate (
    nr         INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL, -- UUIDv7
    kind       INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    site       TEXT,
    patient    BLOB,             -- UUID of the patient that it is about
    status     TEXT,
    date_from  INTEGER,
    date_to    INTEGER,
    message    INTEGER,          -- the message that made this version
    keys       BLOB,             -- its rows of `find` (natural keys aside) and `search`, so that they can be taken out
    data       BLOB    NOT NULL  -- sealed JSON
);
CREATE UNIQUE INDEX aggregate_id ON aggregate (id);
CREATE INDEX aggregate_updated ON aggregate (kind, updated_at, id);
CREATE INDEX aggregate_patient ON aggregate (patient, kind) WHERE patient IS NOT NULL;

-- The versions before, as they stood.
CREATE TABLE history (
    nr         INTEGER PRIMARY KEY,
    aggregate  INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    message    INTEGER,
    data       BLOB    NOT NULL  -- sealed JSON, as it was in `aggregate`
);
CREATE UNIQUE INDEX history_version ON history (aggregate, version);

-- What aggregates are matched by. scope: for what is within another aggregate the first 8 bytes of that one's id, which
-- grow; else 0. hash: of an identifier with a system that of its value alone, so that one row is found with the system
-- and without. check_hash: the hash of the whole key, compared before a row is believed.
CREATE TABLE find (
    scope      INTEGER NOT NULL,
    hash       INTEGER NOT NULL,
    aggregate  INTEGER NOT NULL,
    check_hash INTEGER NOT NULL,
    PRIMARY KEY (scope, hash, aggregate, check_hash)
) WITHOUT ROWID;

-- What aggregates are searched by beside that: names whole and by their beginnings, codes.
CREATE TABLE search (
    hash      INTEGER NOT NULL,
    aggregate INTEGER NOT NULL,
    PRIMARY KEY (hash, aggregate)
) WITHOUT ROWID;

-- Time of somebody or something that only one appointment may have. PostgreSQL: an exclusion constraint.
CREATE TABLE booking (
    nr         INTEGER PRIMARY KEY,
    aggregate  INTEGER NOT NULL,
    resource   BLOB    NOT NULL,
    start_at   INTEGER NOT NULL,
    end_at     INTEGER NOT NULL,
    overbooked INTEGER NOT NULL
);
-- By its end: what is over is not looked at again.
CREATE INDEX booking_resource ON booking (resource, end_at);
CREATE INDEX booking_aggregate ON booking (aggregate);
CREATE TRIGGER booking_once BEFORE INSERT ON booking
WHEN NEW.overbooked = 0 AND EXISTS (
    SELECT 1 FROM booking
    WHERE resource = NEW.resource AND start_at < NEW.end_at AND end_at > NEW.start_at
      AND aggregate <> NEW.aggregate AND overbooked = 0
)
BEGIN
    SELECT RAISE(ABORT, 'booked twice');
END;

-- Keys of the API. The secret itself is not here.
CREATE TABLE api_key (
    nr         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE,
    secret     BLOB    NOT NULL UNIQUE, -- keyed hash, 32 bytes
    scopes     TEXT    NOT NULL,        -- separated by spaces
    created_at INTEGER NOT NULL
);
