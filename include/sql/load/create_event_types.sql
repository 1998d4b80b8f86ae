-- Purpose: what each Currents event type means; a type that is not here is ignored.
-- Grain: event type. `source_kind` is the kind where the event itself names no source.
-- users.UserDeleteRequest becomes a request to erase the user (R22).
-- A canvas.Entry in the control group becomes `control` in create_events.
CREATE TABLE event_types AS
SELECT
    event_type,
    interaction,
    channel,
    measure,
    source_kind
FROM (
    VALUES
    ('users.messages.email.Send', 'received', 'email', 'received', NULL),
    ('users.messages.pushnotification.Send', 'received', 'push', 'received', NULL),
    ('users.messages.sms.Send', 'received', 'sms', 'received', NULL),
    ('users.messages.whatsapp.Send', 'received', 'whatsapp', 'received', NULL),
    ('users.messages.webhook.Send', 'received', 'webhook', 'received', NULL),
    ('users.messages.rcs.Send', 'received', 'rcs', 'received', NULL),
    ('users.messages.line.Send', 'received', 'line', 'received', NULL),
    ('users.messages.inappmessage.Impression', 'received', 'in_app_message', 'received', NULL),
    ('users.messages.contentcard.Impression', 'received', 'content_card', 'received', NULL),
    ('users.messages.banner.Impression', 'received', 'banner', 'received', NULL),
    ('users.messages.email.Open', 'opened', 'email', 'engaged', NULL),
    ('users.messages.pushnotification.Open', 'opened', 'push', 'engaged', NULL),
    ('users.messages.whatsapp.Read', 'opened', 'whatsapp', 'engaged', NULL),
    ('users.messages.rcs.Read', 'opened', 'rcs', 'engaged', NULL),
    ('users.messages.email.Click', 'clicked', 'email', 'engaged', NULL),
    ('users.messages.inappmessage.Click', 'clicked', 'in_app_message', 'engaged', NULL),
    ('users.messages.contentcard.Click', 'clicked', 'content_card', 'engaged', NULL),
    ('users.messages.banner.Click', 'clicked', 'banner', 'engaged', NULL),
    ('users.messages.sms.ShortLinkClick', 'clicked', 'sms', 'engaged', NULL),
    ('users.messages.whatsapp.Click', 'clicked', 'whatsapp', 'engaged', NULL),
    ('users.messages.rcs.Click', 'clicked', 'rcs', 'engaged', NULL),
    ('users.messages.line.Click', 'clicked', 'line', 'engaged', NULL),
    ('users.messages.sms.InboundReceive', 'replied', 'sms', 'sms_keyword', NULL),
    ('users.messages.whatsapp.InboundReceive', 'replied', 'whatsapp', NULL, NULL),
    ('users.messages.rcs.InboundReceive', 'replied', 'rcs', NULL, NULL),
    ('users.messages.line.InboundReceive', 'replied', 'line', NULL, NULL),
    ('users.campaigns.Conversion', 'converted', NULL, NULL, 'campaign'),
    ('users.canvas.Conversion', 'converted', NULL, NULL, 'canvas'),
    ('users.canvas.Entry', 'entered', NULL, NULL, 'canvas'),
    ('users.campaigns.EnrollInControl', 'control', NULL, 'control', 'campaign'),
    ('users.messages.email.Bounce', NULL, 'email', 'hard_bounced', NULL),
    ('users.messages.email.MarkAsSpam', NULL, 'email', 'marked_as_spam', NULL),
    ('users.behaviors.app.NewsFeedImpression', NULL, 'app', 'viewed_news_feed', NULL),
    ('users.UserDeleteRequest', NULL, NULL, NULL, NULL)
) AS meanings (event_type, interaction, channel, measure, source_kind)
