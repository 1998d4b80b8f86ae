-- Purpose: the records of one load's files as they were read, under the product's field names.
-- Grain: record (file_no, line); `reason` and `payload` where it could not be read.
CREATE TABLE records (
    file_no INTEGER NOT NULL,
    line BIGINT NOT NULL,
    event_type VARCHAR,
    id VARCHAR,
    time DOUBLE,
    user_id VARCHAR,
    external_user_id VARCHAR,
    campaign_id VARCHAR,
    canvas_id VARCHAR,
    canvas_step_id VARCHAR,
    message_variation_id VARCHAR,
    canvas_variation_id VARCHAR,
    dispatch_id VARCHAR,
    send_id VARCHAR,
    link_alias VARCHAR,
    machine_open BOOLEAN,
    is_suspected_bot_click BOOLEAN,
    in_control_group BOOLEAN,
    conversion_behavior_index INTEGER,
    action VARCHAR,
    reason VARCHAR,
    payload VARCHAR
)
