-- What a message costs the writer.
--
-- A list (`IN`) in the condition of a partial index is built as a table of its own for each row that is written; these
-- conditions say the same without one: queued, sending, retrying, unsure, held; and all but queued and sent.
DROP INDEX delivery_waiting;
CREATE INDEX delivery_waiting ON delivery (destination, id, lane) WHERE state < 7 AND state <> 1 AND state <> 3;
DROP INDEX delivery_lane;
CREATE INDEX delivery_lane ON delivery (destination, lane, id)
WHERE lane IS NOT NULL AND state < 7 AND state <> 1 AND state <> 3;
DROP INDEX delivery_trouble;
CREATE INDEX delivery_trouble ON delivery (state, id) WHERE state >= 2;
DROP INDEX message_trouble;
CREATE INDEX message_trouble ON message (state, seq) WHERE state >= 4 AND state <= 5;

-- Buckets of 512 messages in place of 4096: hashes fall at random into a bucket, so that the pages that a transaction
-- touches are as many as a bucket has. bucket = 8 * (message / 512) + kind.
UPDATE key SET bucket = 8 * (message / 512) + bucket % 8;
