WITH
tag_sources AS (
    SELECT
        source_id,
        bool_or(tag = $v12) AS tag_1
    FROM (
        WITH tagged AS (
            SELECT DISTINCT
                source_id,
                tag
            FROM known_source_tags
            WHERE tag IN ($v12)
        )

        SELECT
            tag,
            source_id
        FROM (
            SELECT
                tagged.tag,
                known_sources.source_id,
                row_number() OVER (
                    PARTITION BY tagged.tag
                    ORDER BY known_sources.last_sent_at DESC NULLS LAST, known_sources.source_id ASC
                ) AS place
            FROM known_sources
            INNER JOIN tagged ON known_sources.source_id = tagged.source_id
        ) AS placed
        WHERE place <= 200
    ) AS looked_at
    GROUP BY source_id
),
interaction_flags AS (
    SELECT
        user_id,
        bool_or(CASE WHEN seen.source_id = $v1 THEN interaction = $v2 END) AS interaction_1,
        bool_or(CASE WHEN seen.source_id = $v3 THEN interaction = $v4 END) AS interaction_2,
        bool_or(CASE WHEN seen.source_id = $v3 THEN interaction = $v5 END) AS interaction_3,
        bool_or(CASE WHEN seen.source_id = $v1 THEN interaction = $v6 AND channel = $v7 AND machine_open IS NOT TRUE END) AS interaction_4,
        max(CASE WHEN tag_sources.tag_1 AND interaction = $v2 THEN occurred_at END) AS interaction_5
    FROM available_interactions AS seen
    LEFT JOIN tag_sources ON seen.source_id = tag_sources.source_id
    WHERE interaction IN ($v2, $v4, $v5, $v6) AND (seen.source_id IN ($v1, $v3) OR tag_sources.source_id IS NOT NULL)
    GROUP BY user_id
),
summary_flags AS (
    SELECT
        user_id,
        max(CASE WHEN measure = $v2 AND dimension = $v7 THEN last_at END) AS summary_1,
        sum(CASE WHEN measure = $v10 THEN event_count END) AS summary_2
    FROM user_message_summary
    WHERE measure IN ($v2, $v10)
    GROUP BY user_id
),
flagged AS (
    SELECT
        users.user_id,
        interaction_flags.interaction_1,
        interaction_flags.interaction_2,
        interaction_flags.interaction_3,
        interaction_flags.interaction_4,
        interaction_flags.interaction_5,
        summary_flags.summary_1,
        summary_flags.summary_2
    FROM users
    LEFT JOIN interaction_flags ON users.user_id = interaction_flags.user_id
    LEFT JOIN summary_flags ON users.user_id = summary_flags.user_id
)
SELECT user_id FROM flagged
WHERE ((COALESCE(interaction_1, FALSE) AND ((COALESCE(interaction_3, FALSE) AND NOT COALESCE(interaction_2, FALSE)) AND COALESCE(interaction_4, FALSE))) AND (COALESCE(interaction_5 > $v8, FALSE) AND (COALESCE(summary_1 < $v9, FALSE) AND (COALESCE(summary_2, 0) > $v11))))
-- v1 = "it's spring"
-- v10 = 'viewed_news_feed'
-- v11 = 3
-- v12 = 'promo'
-- v2 = 'received'
-- v3 = 'journey'
-- v4 = 'control'
-- v5 = 'entered'
-- v6 = 'opened'
-- v7 = 'email'
-- v8 = datetime.datetime(2026, 5, 2, 4, 0, tzinfo=datetime.timezone.utc)
-- v9 = datetime.datetime(2026, 5, 1, 0, 0, tzinfo=datetime.timezone.utc)
