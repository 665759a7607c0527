-- What scripts count. A row moves in the transaction of the message that took the number.

CREATE TABLE counter (
    channel TEXT    NOT NULL, -- empty: shared by all channels that declare it so
    name    TEXT    NOT NULL,
    given   INTEGER NOT NULL, -- the number that was given last
    PRIMARY KEY (channel, name)
) WITHOUT ROWID;
