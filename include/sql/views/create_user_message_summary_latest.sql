-- When something last happened to a user, and how often, over all sources.
-- Grain: one row a user, measure and dimension. Reads user_message_summary; never interactions.
-- Rules: R15 (the same before an expiry, after it, and after a restore).
CREATE VIEW user_message_summary_latest AS
SELECT
    user_id,
    measure,
    dimension,
    max(last_at) AS last_at,
    sum(event_count)::BIGINT AS event_count
FROM user_message_summary
GROUP BY user_id, measure, dimension
