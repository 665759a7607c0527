-- Messages that are made inside Punte: by a link to a channel, a part of a whole, an event, a response.

-- Which delivery made which message. A delivery makes each number once: the row, the message and, with the last one, the
-- end of the delivery are written together. Deliveries grow, so that new rows land side by side.
CREATE TABLE made (
    delivery INTEGER NOT NULL,
    number   INTEGER NOT NULL, -- from 1
    message  INTEGER NOT NULL,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;

-- What happened to each aggregate of `wrote`, in its order, separated by spaces: created, updated, placed …
ALTER TABLE message ADD COLUMN verbs TEXT;
