-- Ids are UUIDv7: time first, so an index on the primary key is an index on time. Everything is created in the schema
-- that search_path names; the functions keep that name, so that they work in sessions with another search_path.

CREATE TYPE rejection_reason AS ENUM (
  'INVALID_SUBJECT', 'INVALID_HEADERS', 'INVALID_JSON', 'TOO_LARGE', 'INVALID_EVENT_ID', 'INVALID_OCCURRED_AT',
  'INVALID_CLOUD_EVENT', 'SCHEMA_MISMATCH', 'NOT_RECORDED'
);
CREATE TYPE delivery_status AS ENUM ('PENDING', 'SUCCESS', 'FAILURE', 'CANCELLED');
CREATE TYPE wait_reason AS ENUM ('BACKOFF', 'RETRY_AFTER', 'CIRCUIT_OPEN', 'RATE_LIMITED', 'IN_FLIGHT_LIMIT', 'BROKER_UNAVAILABLE');
CREATE TYPE deactivation_reason AS ENUM ('GONE', 'FAILING');
CREATE TYPE attempt_status AS ENUM ('SUCCESS', 'FAILURE');
CREATE TYPE failure_reason AS ENUM (
  'HTTP_STATUS', 'REDIRECT', 'TIMEOUT', 'CONNECTION_REFUSED', 'CONNECTION_RESET', 'UNREACHABLE', 'DNS_FAILURE',
  'BLOCKED_TARGET', 'TLS_FAILURE', 'INVALID_RESPONSE', 'INVALID_REQUEST', 'OTHER'
);

CREATE TYPE replay_status AS ENUM ('RUNNING', 'COMPLETED', 'CANCELLED', 'DRY_RUN');

CREATE TABLE tenants (
  name    text PRIMARY KEY,
  version bigint NOT NULL DEFAULT 0
);

CREATE TABLE webhook_subscriptions (
  id                    uuid PRIMARY KEY,
  tenant                text NOT NULL,
  url                   text NOT NULL,
  description           text NOT NULL DEFAULT '',
  event_types           text[] NOT NULL,
  -- What an event's data has to fulfil (docs/payload-filters.md); null: nothing.
  filter                jsonb,
  is_active             boolean NOT NULL DEFAULT true,
  -- Set when we switched it off ourselves.
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
CREATE INDEX webhook_subscriptions_tenant_version_idx ON webhook_subscriptions (tenant, version);
CREATE INDEX webhook_subscriptions_tenant_id_idx ON webhook_subscriptions (tenant, id);

-- Every change takes the tenant's next version and tells the senders' caches. The row of `tenants` stays locked until
-- commit, so versions become visible in their own order: who has seen version n has seen everything up to n.
CREATE FUNCTION webhook_subscription_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO tenants (name, version) VALUES (NEW.tenant, 1)
    ON CONFLICT (name) DO UPDATE SET version = tenants.version + 1
    RETURNING version INTO NEW.version;
  NEW.updated_at := now();
  PERFORM pg_notify('webhook_subscription_changed', NEW.id::text);
  RETURN NEW;
END $$;
CREATE TRIGGER webhook_subscription_changed BEFORE INSERT OR UPDATE ON webhook_subscriptions
  FOR EACH ROW EXECUTE FUNCTION webhook_subscription_changed();

-- What decides whether a subscription gets an event, as it was from one version of the tenant until before another, so
-- that one can say later why an event was not delivered. Only what is not deleted is in it.
CREATE TABLE matching_settings (
  subscription_id uuid NOT NULL,
  from_version    bigint NOT NULL,
  -- Both null while the settings apply.
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

-- What delivering changes about a subscription, one row for each. Not in its own row, whose every change invalidates
-- caches. Whoever makes a delivery wait in Postgres brings next_sweep_at forward in the same statement, so that the
-- sweeper only ever looks at this table to find out where there is something to do.
CREATE TABLE subscription_states (
  subscription_id uuid PRIMARY KEY REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
  -- When the sweeper has to look after the deliveries that wait in Postgres; null if none do.
  next_sweep_at     timestamptz(3),
  -- Deliveries that are due wait for their turn: new ones queue up behind them instead of going to JetStream.
  is_backlogged   boolean NOT NULL DEFAULT false,
  -- After a backlog: when a transaction that inserted a delivery behind it, unseen, must have ended.
  late_insert_check_until timestamptz(3),
  -- How many deliveries the sweeper may have in JetStream at a time while there is a backlog.
  publish_window  integer,
  -- With a rate limit: the first moment that no attempt has been given yet.
  next_slot_at    timestamptz,
  -- Since when every attempt has failed, how many notices of that were given, and when the last one was.
  failing_since   timestamptz(3),
  notice_count    integer NOT NULL DEFAULT 0,
  noticed_at      timestamptz(3),
  -- The circuit: open while opened_at is set. The log before closed_at does not count against it any more.
  opened_at       timestamptz(3),
  closed_at       timestamptz(3),
  probe_at        timestamptz(3),
  probe_wait_ms   integer,
  -- When NATS last did not take deliveries; null once it has taken some since.
  refused_at      timestamptz(3)
) WITH (fillfactor = 50);
CREATE INDEX subscription_states_next_sweep_at_idx ON subscription_states (next_sweep_at) WHERE next_sweep_at IS NOT NULL;

-- Notices about subscriptions, by tenant and event type: how many since when, and those beyond the limit, which are told
-- together, with the data of the latest one.
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

CREATE FUNCTION webhook_subscription_created() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO subscription_states (subscription_id) VALUES (NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER webhook_subscription_created AFTER INSERT ON webhook_subscriptions
  FOR EACH ROW EXECUTE FUNCTION webhook_subscription_created();

CREATE TYPE api_key_scope AS ENUM ('ADMIN', 'TENANT_WRITE', 'TENANT_READ', 'PUBLISH');
CREATE TABLE api_keys (
  id           uuid PRIMARY KEY,
  name         text NOT NULL,
  scope        api_key_scope NOT NULL,
  -- Null: of no tenant. Nobody but an administrator may read without one.
  tenant       text,
  -- SHA-256. The key itself is shown once and not kept.
  key_hash     bytea NOT NULL,
  created_at   timestamptz(3) NOT NULL DEFAULT now(),
  last_used_at timestamptz(3),
  revoked_at   timestamptz(3),
  CONSTRAINT api_keys_tenant_check CHECK (scope = 'PUBLISH' OR (scope = 'ADMIN') = (tenant IS NULL))
);
CREATE UNIQUE INDEX api_keys_key_hash_idx ON api_keys (key_hash);
CREATE INDEX api_keys_tenant_id_idx ON api_keys (tenant, id);

CREATE FUNCTION api_key_revoked() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  PERFORM pg_notify('api_key_revoked', NEW.id::text);
  RETURN NULL;
END $$;
CREATE TRIGGER api_key_revoked AFTER UPDATE OF revoked_at ON api_keys
  FOR EACH ROW EXECUTE FUNCTION api_key_revoked();

CREATE TABLE signing_secrets (
  id               uuid PRIMARY KEY,
  subscription_id  uuid NOT NULL REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
  encrypted_secret text NOT NULL,
  created_at       timestamptz(3) NOT NULL DEFAULT now(),
  expires_at       timestamptz(3)
);
CREATE INDEX signing_secrets_subscription_id_idx ON signing_secrets (subscription_id);

-- The event catalogue: the platform's, the same for every tenant. Rows are never deleted, so a version says all.
CREATE TABLE event_types (
  name        text COLLATE "C" PRIMARY KEY,
  description text NOT NULL DEFAULT '',
  -- JSON Schema. Not jsonb, which would change the order of what people wrote.
  schema      json,
  is_archived boolean NOT NULL DEFAULT false,
  version     bigint NOT NULL DEFAULT 1,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  updated_at  timestamptz(3) NOT NULL DEFAULT now()
);

-- The three big tables are partitioned by ranges of ids, which are ranges of time; partitions are made and dropped by the
-- program. The default partitions hold what has no partition of its own, from a clock that is far out.
CREATE TABLE events (
  id          uuid PRIMARY KEY,
  tenant      text NOT NULL,
  event_id    text NOT NULL,
  -- In "C", here and below: there a prefix is a range of the index. Types are ASCII.
  type        text COLLATE "C" NOT NULL,
  occurred_at timestamptz(3) NOT NULL,
  data        bytea NOT NULL,
  created_at  timestamptz(3) NOT NULL DEFAULT now(),
  -- The tenant's version whose settings decided who gets it; null: whom it is for was named.
  matched_version bigint,
  -- The first subscription, by id, whose filter was not looked at: those before took too long.
  filter_budget_exhausted_at uuid
) PARTITION BY RANGE (id);
CREATE TABLE events_default PARTITION OF events DEFAULT;
-- Filters: tenant; event types, exact or by prefix, with a tenant or without. What comes after the id is compared in the
-- index, without a look at the row: here and below, that is for those that few of a tenant's rows match.
CREATE INDEX events_tenant_id_idx ON events (tenant, id, created_at);
CREATE INDEX events_type_tenant_id_idx ON events (type, tenant, id);

-- The ids that publishers gave: unique within a tenant, which no partitioned table could see to.
CREATE TABLE event_ids (
  tenant       text NOT NULL,
  event_id     text NOT NULL,
  event_row_id uuid NOT NULL,
  PRIMARY KEY (event_id, tenant)
);
-- To forget those whose events are gone.
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

-- No foreign keys on the big tables: each insert would lock and read the parents, and the ids are derived, not typed in.
CREATE TABLE deliveries (
  id              uuid PRIMARY KEY,
  tenant          text NOT NULL,
  subscription_id uuid NOT NULL,
  event_id        uuid NOT NULL,
  event_type      text COLLATE "C" NOT NULL,
  status          delivery_status NOT NULL DEFAULT 'PENDING',
  -- For the partial indexes: Prisma casts the status it compares with from a text when it runs, so Postgres cannot tell
  -- while it plans that an index of some statuses will do.
  is_unsuccessful boolean NOT NULL GENERATED ALWAYS AS (status <> 'SUCCESS') STORED,
  attempt_count   integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz(3),
  waiting_for     wait_reason,
  enqueued_at     timestamptz(3),
  enqueue_count   integer NOT NULL DEFAULT 0,
  leased_until    timestamptz(3),
  -- The replay that made it; the row of that may be gone.
  replay_id       uuid,
  -- Sent by sendTestEvent: one attempt, which says nothing about the circuit.
  is_test         boolean NOT NULL DEFAULT false,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  completed_at    timestamptz(3)
) PARTITION BY RANGE (id);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
-- Filters: tenant; subscription; event types, exact or by prefix; the deliveries of an event.
CREATE INDEX deliveries_tenant_id_idx ON deliveries (tenant, id, created_at);
CREATE INDEX deliveries_subscription_id_id_idx ON deliveries (subscription_id, id, created_at);
CREATE INDEX deliveries_event_type_tenant_id_idx ON deliveries (event_type, tenant, id);
CREATE INDEX deliveries_event_id_idx ON deliveries (event_id);
-- Filters: statuses without SUCCESS, of a tenant, a subscription, or all.
CREATE INDEX deliveries_unsuccessful_idx ON deliveries (tenant, id, status, subscription_id) WHERE is_unsuccessful;
-- Or Postgres takes what is FAILURE and not SUCCESS for much rarer than what is FAILURE, and sorts it all.
CREATE STATISTICS deliveries_status_stats (dependencies) ON status, is_unsuccessful FROM deliveries;
-- What waits in Postgres, by subscription and by when it is due; and what should have a live message. The time that ends
-- the second is compared in the index.
CREATE INDEX deliveries_waiting_idx ON deliveries (subscription_id, next_attempt_at)
  WHERE status = 'PENDING' AND enqueued_at IS NULL;
CREATE INDEX deliveries_enqueued_idx ON deliveries (subscription_id, enqueued_at, next_attempt_at)
  WHERE status = 'PENDING' AND enqueued_at IS NOT NULL;
-- The tests of a tenant that have not ended, of which there is a limit.
CREATE INDEX deliveries_pending_tests_idx ON deliveries (tenant) WHERE is_test AND status = 'PENDING';
-- What a replay has made.
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
  request_headers         jsonb NOT NULL,
  response_headers        jsonb,
  response_body           text,
  response_body_truncated boolean NOT NULL DEFAULT false,
  error_message           text,
  payload_size_bytes      integer NOT NULL,
  -- The current secret first. They may have expired since, and their rows be gone.
  signing_secret_ids      uuid[] NOT NULL DEFAULT '{}',
  -- As its delivery's.
  is_test                 boolean NOT NULL DEFAULT false,
  -- Filters read the status from the reason, which Postgres can compare with the predicates of indexes while it plans.
  CHECK ((status = 'FAILURE') = (failure_reason IS NOT NULL))
) PARTITION BY RANGE (id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;
-- Filters: tenant; subscription; event types, exact or by prefix; the attempts of a delivery.
CREATE INDEX attempts_tenant_id_idx ON attempts (tenant, id);
CREATE INDEX attempts_subscription_id_id_idx ON attempts (subscription_id, id);
CREATE INDEX attempts_event_type_tenant_id_idx ON attempts (event_type, tenant, id);
CREATE INDEX attempts_delivery_id_number_idx ON attempts (delivery_id, number);
-- Filters: one of the 2xx. Nearly all have 200; a page of others would read its way through those.
CREATE INDEX attempts_not_200_idx ON attempts (tenant, id, status_code, subscription_id) WHERE status_code <> 200;
-- Filters: the status FAILURE, failure reasons, and status codes but 2xx, of a tenant, a subscription, or all.
CREATE INDEX attempts_failed_idx ON attempts (tenant, id, failure_reason, status_code, subscription_id)
  WHERE failure_reason IS NOT NULL;
-- Filters of deliveries: failure reasons and status codes but 2xx, in the order of the deliveries.
CREATE INDEX attempts_failed_delivery_idx
  ON attempts (delivery_id, failure_reason, status_code, tenant, subscription_id, event_type)
  WHERE failure_reason IS NOT NULL;

-- Statistics (ADR 8). What was logged and is not counted yet: the trigger notes it in the same transaction, a job takes it
-- out and adds it to attempt_counts, also in one.
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
-- Not for what is inserted into a partition by its name: that was logged before and moves.
CREATE TRIGGER attempts_logged AFTER INSERT ON attempts REFERENCING NEW TABLE AS logged
  FOR EACH STATEMENT EXECUTE FUNCTION attempts_logged();

-- How many attempts of an hour were alike. Each is counted three times: for its subscription, its tenant, and all.
CREATE TABLE attempt_counts (
  -- The id of a subscription; `tenant:` and the name of one; or `all`.
  scope          text COLLATE "C" NOT NULL,
  hour           timestamptz(0) NOT NULL,
  event_type     text COLLATE "C" NOT NULL,
  -- 0: there was no response.
  status_code    integer NOT NULL,
  -- Empty: it succeeded. A text, because text to an enum is a cast that no index can be asked with.
  failure_reason text COLLATE "C" NOT NULL,
  -- The response time, on a logarithmic scale.
  response_class smallint NOT NULL,
  count          integer NOT NULL,
  PRIMARY KEY (scope, hour, event_type, status_code, failure_reason, response_class) INCLUDE (count)
);
-- For what retention deletes.
CREATE INDEX attempt_counts_hour_idx ON attempt_counts (hour);

CREATE TABLE replays (
  id              uuid PRIMARY KEY,
  tenant          text NOT NULL,
  status          replay_status NOT NULL,
  -- A DeliveryFilter, as it was given.
  filter          jsonb NOT NULL,
  rate_per_second integer NOT NULL,
  delivery_count  integer NOT NULL,
  replayed_count  integer NOT NULL DEFAULT 0,
  skipped_count   integer NOT NULL DEFAULT 0,
  -- The last delivery that was dealt with. Moved on in the transaction of what was made of it.
  after_id        uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  -- Keeps the pace: not before then.
  next_batch_at   timestamptz(3) NOT NULL DEFAULT now(),
  -- In a row; each makes it wait longer.
  failure_count   integer NOT NULL DEFAULT 0,
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  completed_at    timestamptz(3)
) WITH (fillfactor = 50);
CREATE INDEX replays_tenant_id_idx ON replays (tenant, id);
CREATE INDEX replays_running_idx ON replays (tenant) WHERE status = 'RUNNING';
