-- Order by key: which deliveries of a destination keep their order among themselves.

-- A keyed hash of the key, cut to 6 bytes, and 2 bytes of that of where the key stands (patient, visit, a path): what
-- was queued by another key is seen to be so. None: by no key, all that is before and after waits for it.
ALTER TABLE delivery ADD COLUMN lane INTEGER;

-- Looked through without opening a row.
DROP INDEX delivery_waiting;
CREATE INDEX delivery_waiting ON delivery (destination, id, lane) WHERE state IN (0, 2, 4, 5, 6);
-- The next of a lane. What has none pays nothing for it.
CREATE INDEX delivery_lane ON delivery (destination, lane, id) WHERE lane IS NOT NULL AND state IN (0, 2, 4, 5, 6);
