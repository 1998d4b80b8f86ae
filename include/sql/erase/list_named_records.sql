-- The records of one part of a landing file that are about people who are to be erased (R22).
-- Grain: one row a record. Reads erased_people (user_id or external_user_id) and the part as it was read.
SELECT part.line
FROM part
SEMI JOIN erased_people AS p ON part.user_id = p.user_id OR part.external_user_id = p.external_user_id
ORDER BY part.line
