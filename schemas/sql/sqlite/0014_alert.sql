-- Alerts: what somebody is told of how the engine goes. Names of channels and destinations, times and counts; nothing of a
-- message, so that nothing of it is sealed.

-- An episode: from when on something was wrong, until it was over.
CREATE TABLE alert (
    nr        INTEGER PRIMARY KEY,
    what      TEXT    NOT NULL, -- the rule and what it is about: held 1 adt/ris
    says      TEXT    NOT NULL, -- in a sentence, as it was when it began
    receivers TEXT    NOT NULL, -- who is told, separated by spaces
    began_at  INTEGER NOT NULL,
    ended_at  INTEGER           -- none: it is on
);
CREATE UNIQUE INDEX alert_on ON alert (what) WHERE ended_at IS NULL;

-- What is still to be told: the beginning or the end of an episode, to one receiver. Written with the episode, gone once it
-- has been told.
CREATE TABLE alert_notice (
    nr       INTEGER PRIMARY KEY,
    alert    INTEGER NOT NULL,
    is_end   INTEGER NOT NULL,
    receiver TEXT    NOT NULL,
    attempts INTEGER NOT NULL,
    due      INTEGER NOT NULL
);

-- When something came in by each channel last, for those that have been silent for long.
CREATE TABLE heard (
    channel TEXT    PRIMARY KEY NOT NULL,
    at      INTEGER NOT NULL
) WITHOUT ROWID;
