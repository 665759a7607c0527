-- Which keys may stand in 16 buckets that have all their messages, as a Bloom filter: whoever looks for one among millions
-- probes only the buckets that may have it. It is made anew from `key` at any time. A sieve has so many blocks, each in a
-- page of its own: id = 64 * nr + block, nr = message / 8192. None: nothing is found in it.
CREATE TABLE sieve_of (
    nr     INTEGER PRIMARY KEY,
    blocks INTEGER NOT NULL
);
CREATE TABLE sieve (
    id   INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
);
