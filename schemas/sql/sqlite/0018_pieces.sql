-- Big bodies are sealed as they arrive: their files are built otherwise, and the hash by which they are named is another
-- one. The tables are as they were.
SELECT 1;
