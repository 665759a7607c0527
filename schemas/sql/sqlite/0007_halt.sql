-- Channels and destinations that a person stopped or paused, until they are started again.

CREATE TABLE halt (
    channel     TEXT    NOT NULL,
    destination TEXT    NOT NULL, -- empty: the whole channel
    since       INTEGER NOT NULL,
    note        BLOB    NOT NULL, -- sealed: the two names, stopped or paused, by whom, why
    PRIMARY KEY (channel, destination)
) WITHOUT ROWID;
