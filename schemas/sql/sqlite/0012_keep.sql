-- What is taken out after its time.

-- Which row names which big body. place: the id of a delivery, or the message's seq, negative, for its own body. What
-- writes a row that names a blob writes a row here: a blob without any is removed.
CREATE TABLE blob (
    place INTEGER PRIMARY KEY,
    hash  BLOB NOT NULL
);
CREATE INDEX blob_hash ON blob (hash);

-- Dead deliveries that a person has seen.
CREATE TABLE seen (
    delivery INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    note     BLOB    NOT NULL -- sealed: by whom, why
);

-- Beside flag 1 of a message: 2, its bodies were taken out; 4, all was but this row, which tells where a value of the
-- clinic comes from. key_sum: over the rows of `key` that were written with it; none: not known.
ALTER TABLE message ADD COLUMN key_sum INTEGER;
