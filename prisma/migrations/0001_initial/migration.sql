-- Ids are UUIDv7: they start with the time of their creation, so an index on the primary key is an index on time. All
-- objects are created in the first schema of search_path. The functions keep that search_path, so they also work in
-- sessions with another one.

CREATE TYPE rejection_reason AS ENUM (
  'INVALID_SUBJECT', 'INVALID_HEADERS', 'INVALID_JSON', 'TOO_LARGE', 'INVALID_EVENT_ID', 'INVALID_OCCURRED_AT',
  'INVALID_CLOUD_EVENT', 'SCHEMA_MISMATCH', 'NOT_RECORDED', 'OTHER'
);
CREATE TYPE event_source AS ENUM ('NATS', 'GRAPHQL', 'TEST', 'ENGINE');
CREATE TYPE delivery_status AS ENUM ('PENDING', 'SUCCESS', 'FAILURE', 'CANCELLED');
CREATE TYPE wait_reason AS ENUM (
  'BACKOFF', 'RETRY_AFTER', 'PAUSED', 'CIRCUIT_OPEN', 'RATE_LIMITED', 'IN_FLIGHT_LIMIT', 'BROKER_UNAVAILABLE'
);
CREATE TYPE deactivation_reason AS ENUM ('GONE', 'FAILING');
CREATE TYPE attempt_status AS ENUM ('SUCCESS', 'FAILURE');
CREATE TYPE failure_reason AS ENUM (
  'HTTP_STATUS', 'REDIRECT', 'TIMEOUT', 'CONNECTION_REFUSED', 'CONNECTION_RESET', 'UNREACHABLE', 'DNS_FAILURE',
  'BLOCKED_TARGET', 'PROXY_FAILURE', 'TLS_FAILURE', 'INVALID_RESPONSE', 'INVALID_REQUEST', 'OTHER'
);

CREATE TYPE replay_status AS ENUM ('RUNNING', 'COMPLETED', 'CANCELLED');
CREATE TYPE replay_kind AS ENUM ('REPLAY', 'RETRY', 'CANCEL');

CREATE TABLE tenants (
  name    text PRIMARY KEY,
  version bigint NOT NULL DEFAULT 0
);

CREATE TABLE webhook_subscriptions (
  id                    uuid PRIMARY KEY,
  tenant                text NOT NULL,
  url                   text NOT NULL,
  description           text NOT NULL DEFAULT '',
  -- Empty after the deletion.
  event_types           text[] NOT NULL,
  -- The condition on an event's data (docs/payload-filters.md); null: no condition, or the subscription was deleted.
  filter                jsonb,
  is_active             boolean NOT NULL DEFAULT true,
  -- Why the engine deactivated the subscription; null unless it did.
  deactivation_reason   deactivation_reason,
  timeout_ms            integer NOT NULL DEFAULT 5000,
  max_in_flight         integer NOT NULL DEFAULT 10,
  rate_limit_per_second integer,
  header_names          text[] NOT NULL DEFAULT '{}',
  encrypted_headers     text,
  version               bigint NOT NULL DEFAULT 0,
  created_at            timestamptz(3) NOT NULL DEFAULT now(),
  updated_at            timestamptz(3) NOT NULL DEFAULT now(),
  deleted_at            timestamptz(3)
);
-- For alerts about deactivated subscriptions.
CREATE INDEX webhook_subscriptions_deactivated_idx ON webhook_subscriptions (updated_at) WHERE deactivation_reason IS NOT NULL;
-- For matching events, and for counting a tenant's subscriptions. Any number of deleted rows may remain, so they are not in
-- the first index; the second is for caches that have to forget them.
CREATE INDEX webhook_subscriptions_tenant_version_idx ON webhook_subscriptions (tenant, version) WHERE deleted_at IS NULL;
CREATE INDEX webhook_subscriptions_deleted_idx ON webhook_subscriptions (tenant, version) WHERE deleted_at IS NOT NULL;
CREATE INDEX webhook_subscriptions_tenant_id_idx ON webhook_subscriptions (tenant, id);

-- Every change gets the tenant's next version and notifies the senders' caches. The row of `tenants` stays locked until the
-- commit, so versions become visible in ascending order: a reader of version n has seen all versions up to n.
CREATE FUNCTION webhook_subscription_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO tenants (name, version) VALUES (NEW.tenant, 1)
    ON CONFLICT (name) DO UPDATE SET version = tenants.version + 1
    RETURNING version INTO NEW.version;
  -- Not the time at which the transaction began: a transaction that began earlier may have waited for this row.
  NEW.updated_at := CASE TG_OP WHEN 'INSERT' THEN now()
    ELSE greatest(clock_timestamp(), OLD.updated_at + interval '1 millisecond') END;
  PERFORM pg_notify('webhook_subscription_changed', NEW.id::text);
  INSERT INTO changes (subscriptions) VALUES (ARRAY[NEW.id]);
  RETURN NEW;
END $$;
CREATE TRIGGER webhook_subscription_changed BEFORE INSERT OR UPDATE ON webhook_subscriptions
  FOR EACH ROW EXECUTE FUNCTION webhook_subscription_changed();

-- The settings that decide whether a subscription gets an event, from the tenant's version from_version until before
-- until_version. They later explain why an event was not delivered. Deleted subscriptions have no current row.
CREATE TABLE matching_settings (
  subscription_id uuid NOT NULL,
  from_version    bigint NOT NULL,
  -- until_version and superseded_at are null while the settings apply.
  until_version   bigint,
  superseded_at   timestamptz(3),
  event_types     text[] NOT NULL,
  is_active       boolean NOT NULL,
  filter          jsonb,
  PRIMARY KEY (subscription_id, from_version)
);
CREATE INDEX matching_settings_superseded_at_idx ON matching_settings (superseded_at) WHERE superseded_at IS NOT NULL;

CREATE FUNCTION webhook_subscription_matching_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF (OLD.event_types, OLD.is_active, OLD.filter, OLD.deleted_at)
        IS NOT DISTINCT FROM (NEW.event_types, NEW.is_active, NEW.filter, NEW.deleted_at) THEN
      RETURN NULL;
    END IF;
    UPDATE matching_settings SET until_version = NEW.version, superseded_at = now()
      WHERE subscription_id = NEW.id AND until_version IS NULL;
  END IF;
  IF NEW.deleted_at IS NULL THEN
    INSERT INTO matching_settings (subscription_id, from_version, event_types, is_active, filter)
      VALUES (NEW.id, NEW.version, NEW.event_types, NEW.is_active, NEW.filter);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER webhook_subscription_matching_changed AFTER INSERT OR UPDATE ON webhook_subscriptions
  FOR EACH ROW EXECUTE FUNCTION webhook_subscription_matching_changed();

-- The delivery state, one row for each subscription. It is separate from webhook_subscriptions, because every change of that
-- table invalidates caches. A statement that queues a delivery also moves next_sweep_at to an earlier time if necessary, so
-- the sweeper finds its work in this table alone.
CREATE TABLE subscription_states (
  subscription_id uuid PRIMARY KEY REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
  -- When the sweeper must process the queued deliveries; null if no delivery is queued.
  next_sweep_at     timestamptz(3),
  -- Due deliveries are queued. New deliveries are then queued behind them instead of being published.
  is_backlogged   boolean NOT NULL DEFAULT false,
  -- After a backlog: the time by which every transaction that may still insert a queued delivery has ended.
  late_insert_check_until timestamptz(3),
  -- During a backlog: the maximum number of deliveries that are published and not attempted.
  publish_window  integer,
  -- With a rate limit: the first send time that is not reserved.
  next_send_at    timestamptz,
  -- The first failure without a later success, the number of notices about the failures, and the time of the last notice.
  failing_since   timestamptz(3),
  notice_count    integer NOT NULL DEFAULT 0,
  noticed_at      timestamptz(3),
  -- The circuit is open while opened_at is set. Attempts before closed_at no longer count.
  opened_at       timestamptz(3),
  closed_at       timestamptz(3),
  probe_at        timestamptz(3),
  probe_wait_ms   integer,
  -- When NATS last rejected deliveries; the first sweep that is more than 10 s later sets it to null.
  refused_at      timestamptz(3),
  -- A user has paused the subscription: its deliveries stay queued until this time.
  paused_until    timestamptz(3)
) WITH (fillfactor = 50);
-- For filters of subscriptions: with an open circuit, failing, and paused.
CREATE INDEX subscription_states_open_idx ON subscription_states (subscription_id) WHERE opened_at IS NOT NULL;
CREATE INDEX subscription_states_failing_idx ON subscription_states (subscription_id) WHERE failing_since IS NOT NULL;
CREATE INDEX subscription_states_paused_idx ON subscription_states (subscription_id) WHERE paused_until IS NOT NULL;
CREATE INDEX subscription_states_next_sweep_at_idx ON subscription_states (next_sweep_at) WHERE next_sweep_at IS NOT NULL;

-- The changes of the last hours, for live streams (ADR 31): one row for each statement that changed rows, with the ids of
-- the rows and of the transaction. A reader's position is a snapshot, which determines the transactions it has seen.
CREATE TABLE changes (
  xid             xid8 NOT NULL DEFAULT pg_current_xact_id(),
  logged_at       timestamptz(3) NOT NULL DEFAULT now(),
  events          uuid[],
  rejected_events uuid[],
  deliveries      uuid[],
  subscriptions   uuid[],
  -- Replays and other jobs on deliveries, and erasures of tenants.
  jobs            uuid[]
);
CREATE INDEX changes_xid_idx ON changes (xid);

-- One row while readers exist and for some time after. Without the row, only changes of webhook subscriptions are recorded.
CREATE TABLE change_readers (
  until         timestamptz(3) NOT NULL,
  -- The changes of all transactions that are not visible in this snapshot were recorded and are not deleted.
  complete_from pg_snapshot NOT NULL
);
CREATE UNIQUE INDEX change_readers_one_idx ON change_readers ((true));

CREATE FUNCTION job_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO changes (jobs) SELECT ARRAY[NEW.id] WHERE EXISTS (SELECT FROM change_readers WHERE until > now());
  RETURN NULL;
END $$;

CREATE FUNCTION subscription_state_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO changes (subscriptions) VALUES (ARRAY[NEW.subscription_id]);
  RETURN NULL;
END $$;
CREATE TRIGGER subscription_state_changed AFTER UPDATE OF opened_at, failing_since, paused_until ON subscription_states
  FOR EACH ROW WHEN (
    (OLD.opened_at, OLD.failing_since, OLD.paused_until)
      IS DISTINCT FROM (NEW.opened_at, NEW.failing_since, NEW.paused_until)
  )
  EXECUTE FUNCTION subscription_state_changed();

-- Notices about subscriptions, by tenant and event type: their number since minute_from, and the number of notices beyond
-- the limit, which one notice with the data of the latest of them summarizes.
CREATE TABLE notice_limits (
  tenant                 text NOT NULL,
  type                   text NOT NULL,
  minute_from            timestamptz(3) NOT NULL,
  count                  integer NOT NULL,
  omitted_count          integer NOT NULL DEFAULT 0,
  latest_subscription_id uuid,
  latest_data            text,
  PRIMARY KEY (tenant, type)
) WITH (fillfactor = 50);

-- Creates the state of each new subscription.
CREATE FUNCTION webhook_subscription_created() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO subscription_states (subscription_id) VALUES (NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER webhook_subscription_created AFTER INSERT ON webhook_subscriptions
  FOR EACH ROW EXECUTE FUNCTION webhook_subscription_created();

-- Conditions that are reported to the operator's webhook. Each is sent once, and repeated after a day (src/alerts/store.ts).
CREATE TABLE alerts (
  kind        text NOT NULL,
  -- The webhook subscription's id; empty for conditions of the installation.
  subject     text NOT NULL,
  detail      jsonb NOT NULL,
  raised_at   timestamptz(3) NOT NULL,
  seen_at     timestamptz(3) NOT NULL,
  -- Null after the alert has been sent.
  next_try_at timestamptz(3),
  try_count   integer NOT NULL DEFAULT 0,
  sent_at     timestamptz(3),
  PRIMARY KEY (kind, subject)
);
-- One row: the last check of the conditions and the last request to the operator's webhook, of all processes.
CREATE TABLE alert_schedule (
  checked_at   timestamptz(3) NOT NULL,
  requested_at timestamptz(3) NOT NULL
);
INSERT INTO alert_schedule VALUES ('-infinity', '-infinity');

CREATE TYPE api_key_scope AS ENUM ('ADMIN', 'TENANT_WRITE', 'TENANT_READ', 'PUBLISH');
CREATE TYPE credential_kind AS ENUM ('KEY', 'CONSOLE', 'PORTAL');
-- API keys, and sessions of the console and the portal, which expire and are then deleted.
CREATE TABLE api_keys (
  id           uuid PRIMARY KEY,
  kind         credential_kind NOT NULL DEFAULT 'KEY',
  -- The name of an API key, or the subject of a session, which can be empty.
  name         text NOT NULL,
  scope        api_key_scope NOT NULL,
  -- Null: for all tenants, which requires ADMIN or PUBLISH.
  tenant       text,
  -- SHA-256. The key itself is shown once and not stored.
  key_hash     bytea NOT NULL,
  created_at   timestamptz(3) NOT NULL DEFAULT now(),
  last_used_at timestamptz(3),
  revoked_at   timestamptz(3),
  -- API keys leave this column and the following ones at their defaults.
  expires_at   timestamptz(3),
  -- The key that created the session: the id of an API key, or an id derived from the operator's key. The session ends when
  -- the key is revoked or removed.
  issuer       uuid,
  -- SHA-256 of a one-time code, which is exchanged for the session's token until code_expires_at.
  code_hash       bytea,
  code_expires_at timestamptz(3),
  -- Null: all webhook subscriptions of the tenant.
  subscription_ids uuid[],
  hides_payloads   boolean NOT NULL DEFAULT false,
  locale           text,
  CONSTRAINT api_keys_tenant_check CHECK (scope = 'PUBLISH' OR (scope = 'ADMIN') = (tenant IS NULL)),
  CONSTRAINT api_keys_subscriptions_check CHECK (subscription_ids <> '{}'),
  CONSTRAINT api_keys_session_check CHECK (
    (kind = 'KEY') = (expires_at IS NULL) AND (kind = 'KEY') = (issuer IS NULL)
    AND (code_hash IS NULL) = (code_expires_at IS NULL)
  )
);
CREATE UNIQUE INDEX api_keys_key_hash_idx ON api_keys (key_hash);
CREATE INDEX api_keys_tenant_id_idx ON api_keys (tenant, id);
CREATE UNIQUE INDEX api_keys_code_hash_idx ON api_keys (code_hash);
CREATE INDEX api_keys_expires_at_idx ON api_keys (expires_at) WHERE expires_at IS NOT NULL;

CREATE FUNCTION api_key_revoked() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_notify('api_key_revoked', NEW.id::text);
  RETURN NULL;
END $$;
-- The exchange of a one-time code changes key_hash.
CREATE TRIGGER api_key_revoked AFTER UPDATE OF revoked_at, key_hash ON api_keys
  FOR EACH ROW EXECUTE FUNCTION api_key_revoked();

CREATE TABLE signing_secrets (
  id               uuid PRIMARY KEY,
  subscription_id  uuid NOT NULL REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
  encrypted_secret text NOT NULL,
  created_at       timestamptz(3) NOT NULL DEFAULT now(),
  expires_at       timestamptz(3)
);
CREATE INDEX signing_secrets_subscription_id_idx ON signing_secrets (subscription_id);

-- The event catalogue, the same for all tenants. Rows are never deleted, so readers detect every change by the version.
CREATE TABLE event_types (
  name        text COLLATE "C" PRIMARY KEY,
  description text NOT NULL DEFAULT '',
  -- JSON Schema. The type is not jsonb, because jsonb does not keep the order of members.
  schema      json,
  is_archived boolean NOT NULL DEFAULT false,
  version     bigint NOT NULL DEFAULT 1,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  updated_at  timestamptz(3) NOT NULL DEFAULT now()
);

-- The tables events, deliveries and attempts are partitioned by ranges of ids, which are ranges of time. The engine creates
-- and drops partitions. The default partitions contain rows whose time has no partition, because a clock was wrong.
CREATE TABLE events (
  id          uuid PRIMARY KEY,
  tenant      text NOT NULL,
  event_id    text NOT NULL,
  -- Collation "C", here and below, so that a prefix of event types is a range of the index. Event types are ASCII.
  type        text COLLATE "C" NOT NULL,
  occurred_at timestamptz(3) NOT NULL,
  data        bytea NOT NULL,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  -- The header traceparent of the event's span (55 characters), the parent of its deliveries' spans; null without tracing.
  trace_parent text,
  -- The tenant's version whose settings decided which subscriptions get the event; null: the subscriptions were given.
  matched_version bigint,
  -- The first subscription, by id, whose filter was not evaluated, because the event's filter budget was exhausted.
  filter_budget_exhausted_at uuid,
  -- How the event was published; ENGINE: a system event about a subscription.
  source      event_source NOT NULL DEFAULT 'NATS',
  -- When a user removed the event's data, which is the JSON value `null` since then.
  redacted_at timestamptz(3)
) PARTITION BY RANGE (id);
CREATE TABLE events_default PARTITION OF events DEFAULT;
-- For filters by tenant, and by event types, exact or by prefix, with or without a tenant. Columns after the id, here and
-- below, are compared in the index without reading the row, for filters that match few of a tenant's rows.
CREATE INDEX events_tenant_id_idx ON events (tenant, id, created_at);
CREATE INDEX events_type_tenant_id_idx ON events (type, tenant, id);

-- The ids that publishers gave. They are unique within a tenant, which the partitioned table cannot enforce.
CREATE TABLE event_ids (
  tenant       text NOT NULL,
  event_id     text NOT NULL,
  event_row_id uuid NOT NULL,
  PRIMARY KEY (event_id, tenant)
);
-- For retention, which deletes ids whose events no longer exist.
CREATE INDEX event_ids_event_row_id_idx ON event_ids (event_row_id);

CREATE TABLE rejected_events (
  id         uuid PRIMARY KEY,
  tenant     text,
  subject    text NOT NULL,
  reason     rejection_reason NOT NULL,
  message    text NOT NULL,
  size_bytes integer NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX rejected_events_tenant_id_idx ON rejected_events (tenant, id);
CREATE INDEX rejected_events_reason_tenant_id_idx ON rejected_events (reason, tenant, id);

-- The partitioned tables have no foreign keys: each insert would read and lock the parent rows. The ids cannot be wrong,
-- because the engine derives them.
CREATE TABLE deliveries (
  id              uuid PRIMARY KEY,
  tenant          text NOT NULL,
  subscription_id uuid NOT NULL,
  event_id        uuid NOT NULL,
  event_type      text COLLATE "C" NOT NULL,
  status          delivery_status NOT NULL DEFAULT 'PENDING',
  -- For the partial indexes. Prisma casts the compared status from text at run time, so the planner cannot prove that an
  -- index whose predicate names statuses applies.
  is_unsuccessful boolean NOT NULL GENERATED ALWAYS AS (status <> 'SUCCESS') STORED,
  attempt_count   integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz(3),
  waiting_for     wait_reason,
  enqueued_at     timestamptz(3),
  enqueue_count   integer NOT NULL DEFAULT 0,
  leased_until    timestamptz(3),
  -- The replay that created the delivery; the replay's row may no longer exist.
  replay_id       uuid,
  -- Created by sendTestEvent: the delivery has one attempt, which does not count for the circuit.
  is_test         boolean NOT NULL DEFAULT false,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  completed_at    timestamptz(3)
) PARTITION BY RANGE (id);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
-- For filters by tenant, by subscription, by event types, exact or by prefix, and by event.
CREATE INDEX deliveries_tenant_id_idx ON deliveries (tenant, id, created_at);
CREATE INDEX deliveries_subscription_id_id_idx ON deliveries (subscription_id, id, created_at);
CREATE INDEX deliveries_event_type_tenant_id_idx ON deliveries (event_type, tenant, id);
CREATE INDEX deliveries_event_id_idx ON deliveries (event_id);
-- For filters by statuses other than SUCCESS, of a tenant, a subscription, or all deliveries.
CREATE INDEX deliveries_unsuccessful_idx ON deliveries (tenant, id, status, subscription_id) WHERE is_unsuccessful;
-- Without these statistics, Postgres underestimates the number of rows that have the status FAILURE and are unsuccessful,
-- and sorts all of them.
CREATE STATISTICS deliveries_status_stats (dependencies) ON status, is_unsuccessful FROM deliveries;
-- Queued deliveries by subscription and due time, and published deliveries. The last column of the second index is compared
-- in the index without reading the row.
CREATE INDEX deliveries_waiting_idx ON deliveries (subscription_id, next_attempt_at)
  WHERE status = 'PENDING' AND enqueued_at IS NULL;
CREATE INDEX deliveries_enqueued_idx ON deliveries (subscription_id, enqueued_at, next_attempt_at)
  WHERE status = 'PENDING' AND enqueued_at IS NOT NULL;
-- Pending test deliveries of a tenant, whose number is limited.
CREATE INDEX deliveries_pending_tests_idx ON deliveries (tenant) WHERE is_test AND status = 'PENDING';
-- The deliveries of a replay.
CREATE INDEX deliveries_replay_id_idx ON deliveries (replay_id, event_id, subscription_id) WHERE replay_id IS NOT NULL;

CREATE TABLE attempts (
  id                      uuid PRIMARY KEY,
  delivery_id             uuid NOT NULL,
  subscription_id         uuid NOT NULL,
  tenant                  text NOT NULL,
  event_type              text COLLATE "C" NOT NULL,
  number                  integer NOT NULL,
  status                  attempt_status NOT NULL,
  failure_reason          failure_reason,
  status_code             integer,
  response_time_ms        integer NOT NULL,
  started_at              timestamptz(3) NOT NULL,
  -- The URL of the attempt; that of the webhook subscription may have changed since.
  url                     text NOT NULL,
  -- The address that the request was sent to; null without a connection.
  remote_address          text,
  -- Milliseconds of each phase; null if the phase did not take place or did not end.
  dns_ms                  integer,
  connect_ms              integer,
  tls_ms                  integer,
  first_byte_ms           integer,
  body_ms                 integer,
  request_headers         jsonb NOT NULL,
  response_headers        jsonb,
  response_body           text,
  response_body_truncated boolean NOT NULL DEFAULT false,
  error_message           text,
  payload_size_bytes      integer NOT NULL,
  -- The secrets that signed the request, the current one first. Their rows may no longer exist.
  signing_secret_ids      uuid[] NOT NULL DEFAULT '{}',
  -- Equal to is_test of the delivery.
  is_test                 boolean NOT NULL DEFAULT false,
  -- Filters replace a condition on the status by one on the reason, which the planner matches with the indexes' predicates.
  CHECK ((status = 'FAILURE') = (failure_reason IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
-- For filters by tenant, by subscription, by event types, exact or by prefix, and by delivery.
CREATE INDEX attempts_tenant_id_idx ON attempts (tenant, id);
CREATE INDEX attempts_subscription_id_id_idx ON attempts (subscription_id, id);
CREATE INDEX attempts_event_type_tenant_id_idx ON attempts (event_type, tenant, id);
CREATE INDEX attempts_delivery_id_number_idx ON attempts (delivery_id, number);
-- For filters by a status code 2xx. Nearly all attempts have 200; without this index, a page of other codes would read all
-- of them.
CREATE INDEX attempts_not_200_idx ON attempts (tenant, id, status_code, subscription_id) WHERE status_code <> 200;
-- For filters by the status FAILURE, failure reasons, and status codes other than 2xx, of a tenant, a subscription, or all
-- attempts.
CREATE INDEX attempts_failed_idx ON attempts (tenant, id, failure_reason, status_code, subscription_id)
  WHERE failure_reason IS NOT NULL;
-- For filters of deliveries by failure reasons and by status codes other than 2xx, in the order of the deliveries.
CREATE INDEX attempts_failed_delivery_idx
  ON attempts (delivery_id, failure_reason, status_code, tenant, subscription_id, event_type)
  WHERE failure_reason IS NOT NULL;

-- For filters by slow attempts and by retries. Each index contains only these attempts, so the others add no entry (ADR 41).
CREATE INDEX attempts_slow_idx ON attempts (tenant, id, response_time_ms, number, subscription_id)
  WHERE response_time_ms >= 1000;
CREATE INDEX attempts_retries_idx ON attempts (tenant, id, number, response_time_ms, subscription_id) WHERE number > 1;

-- For statistics (ADR 8): attempts that are logged and not counted yet. The trigger attempts_logged inserts them in the
-- transaction that logs them; a job moves them to attempt_counts, also in one transaction.
CREATE TABLE uncounted_attempts (
  tenant           text NOT NULL,
  subscription_id  uuid NOT NULL,
  event_type       text COLLATE "C" NOT NULL,
  status_code      integer,
  failure_reason   failure_reason,
  response_time_ms integer NOT NULL,
  started_at       timestamptz(3) NOT NULL
);

CREATE FUNCTION attempts_logged() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO uncounted_attempts
    SELECT tenant, subscription_id, event_type, status_code, failure_reason, response_time_ms, started_at FROM logged;
  RETURN NULL;
END $$;
-- The trigger does not fire for inserts that name a partition: these only move rows that were logged before.
CREATE TRIGGER attempts_logged AFTER INSERT ON attempts REFERENCING NEW TABLE AS logged
  FOR EACH STATEMENT EXECUTE FUNCTION attempts_logged();

-- The number of attempts of an hour with equal values. Each attempt is counted three times: for its subscription, for its
-- tenant, and for all tenants.
CREATE TABLE attempt_counts (
  -- The id of a subscription; `tenant:` followed by a tenant; or `all`.
  scope          text COLLATE "C" NOT NULL,
  hour           timestamptz(0) NOT NULL,
  event_type     text COLLATE "C" NOT NULL,
  -- 0: there was no response.
  status_code    integer NOT NULL,
  -- Empty: the attempt succeeded. The type is text, because a cast from text to an enum cannot use an index.
  failure_reason text COLLATE "C" NOT NULL,
  -- The class of the response time, on a logarithmic scale.
  response_class smallint NOT NULL,
  count          integer NOT NULL,
  PRIMARY KEY (scope, hour, event_type, status_code, failure_reason, response_class) INCLUDE (count)
);
-- For retention, which deletes the oldest hours.
CREATE INDEX attempt_counts_hour_idx ON attempt_counts (hour);

-- Jobs on past deliveries: replays, and retries and cancellations of many deliveries.
CREATE TABLE replays (
  id              uuid PRIMARY KEY,
  tenant          text NOT NULL,
  kind            replay_kind NOT NULL DEFAULT 'REPLAY',
  status          replay_status NOT NULL,
  -- The DeliveryFilter as it was given.
  filter          jsonb NOT NULL,
  rate_per_second integer NOT NULL,
  delivery_count  integer NOT NULL,
  replayed_count  integer NOT NULL DEFAULT 0,
  skipped_count   integer NOT NULL DEFAULT 0,
  -- Deliveries that a replay skipped because the event no longer exists or has no data, and because the webhook subscription
  -- is inactive or deleted. The other skipped deliveries are duplicates. Both are zero for other kinds of jobs.
  skipped_without_event_count integer NOT NULL DEFAULT 0,
  skipped_inactive_count      integer NOT NULL DEFAULT 0,
  -- The last processed delivery, saved in the transaction that creates the new deliveries.
  after_id        uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  -- The earliest time of the next batch, which limits the rate.
  next_batch_at   timestamptz(3) NOT NULL DEFAULT now(),
  -- Consecutive failed batches; each one doubles the wait.
  failure_count   integer NOT NULL DEFAULT 0,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  completed_at    timestamptz(3)
) WITH (fillfactor = 50);
CREATE INDEX replays_tenant_id_idx ON replays (tenant, id);
CREATE INDEX replays_running_idx ON replays (tenant) WHERE status = 'RUNNING';
CREATE TRIGGER replay_started AFTER INSERT ON replays FOR EACH ROW EXECUTE FUNCTION job_changed();
CREATE TRIGGER replay_changed AFTER UPDATE ON replays FOR EACH ROW WHEN (
    (OLD.status, OLD.replayed_count, OLD.skipped_count, OLD.rate_per_second)
      IS DISTINCT FROM (NEW.status, NEW.replayed_count, NEW.skipped_count, NEW.rate_per_second)
  )
  EXECUTE FUNCTION job_changed();

-- Changes that mutations made, and their actors (docs/audit-log.md).
CREATE TYPE audit_actor_kind AS ENUM ('OPERATOR', 'API_KEY', 'SESSION', 'JWT');
CREATE TABLE audit_log (
  id          uuid PRIMARY KEY,
  -- Null: the change does not belong to one tenant.
  tenant      text,
  mutation    text NOT NULL,
  actor_kind  audit_actor_kind NOT NULL,
  actor_scope api_key_scope NOT NULL,
  -- The id of the API key or session, and its name, or the claim `sub` of a JWT.
  actor_id    text,
  actor_name  text,
  -- The GraphQL type of the object, and its id.
  object_type text NOT NULL,
  object_id   text,
  -- The changed settings, without secrets; null if the object did not exist before, or does not exist after. The type is not
  -- jsonb, because a schema may contain \u0000, which jsonb rejects.
  before      json,
  after       json,
  created_at  timestamptz(3) NOT NULL DEFAULT now()
);
CREATE INDEX audit_log_tenant_id_idx ON audit_log (tenant, id);
CREATE INDEX audit_log_object_id_id_idx ON audit_log (object_id, id);

-- Erasures of all data of a tenant, or of the remaining data of one event after its redaction (docs/privacy.md).
CREATE TYPE erasure_status AS ENUM ('RUNNING', 'COMPLETED');
CREATE TABLE erasures (
  id                    uuid PRIMARY KEY,
  tenant                text NOT NULL,
  -- The id of the event's row; null: all data of the tenant.
  event_row_id          uuid,
  status                erasure_status NOT NULL DEFAULT 'RUNNING',
  deleted_row_count     bigint NOT NULL DEFAULT 0,
  deleted_message_count bigint NOT NULL DEFAULT 0,
  -- Completed rounds. The second round erases data that was written during the first.
  round_count           integer NOT NULL DEFAULT 0,
  -- The current round compares the event with the messages of this webhook subscription in DELIVERIES; null: with the
  -- messages in EVENTS.
  subscription_id       uuid,
  -- The stream sequence of the last compared message.
  after_sequence        bigint NOT NULL DEFAULT 0,
  next_step_at          timestamptz(3) NOT NULL DEFAULT now(),
  created_at            timestamptz(3) NOT NULL DEFAULT now(),
  completed_at          timestamptz(3)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX erasures_running_idx ON erasures (tenant, coalesce(event_row_id, '00000000-0000-0000-0000-000000000000'))
  WHERE status = 'RUNNING';
-- For the next step of a tenant, that of the tenant's own erasure first, and for counting the redactions of a tenant.
CREATE INDEX erasures_next_step_at_idx ON erasures (tenant, (event_row_id IS NOT NULL), next_step_at)
  WHERE status = 'RUNNING';
CREATE INDEX erasures_tenant_id_idx ON erasures (tenant, id);
CREATE TRIGGER erasure_started AFTER INSERT ON erasures FOR EACH ROW WHEN (NEW.event_row_id IS NULL)
  EXECUTE FUNCTION job_changed();
CREATE TRIGGER erasure_changed AFTER UPDATE ON erasures FOR EACH ROW WHEN (
    NEW.event_row_id IS NULL
    AND (OLD.status, OLD.deleted_row_count, OLD.deleted_message_count)
      IS DISTINCT FROM (NEW.status, NEW.deleted_row_count, NEW.deleted_message_count)
  )
  EXECUTE FUNCTION job_changed();
