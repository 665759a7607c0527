-- What scripts keep.

-- What they count. A row moves in the transaction of the message that took the number.

CREATE TABLE counter (
    channel TEXT    NOT NULL, -- empty: shared by all channels that declare it so
    name    TEXT    NOT NULL,
    given   INTEGER NOT NULL, -- the number that was given last
    PRIMARY KEY (channel, name)
) WITHOUT ROWID;

-- Where sources that fetch go on.
CREATE TABLE cursor (
    channel TEXT NOT NULL PRIMARY KEY,
    cursor  BLOB NOT NULL -- sealed: the channel, and what its script said last
) WITHOUT ROWID;
