-- Short big bodies lie in packs: `blobs/packs/….pack`. The row of the body says where; here stands in which pack, so that it
-- can be marked when nothing names the body any more. None: the body has a file of its own.
ALTER TABLE blob ADD COLUMN pack INTEGER;
