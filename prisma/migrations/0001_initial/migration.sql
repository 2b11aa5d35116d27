-- Ids are UUIDv7: time first, so an index on the primary key is an index on time.

CREATE TYPE rejection_reason AS ENUM (
  'INVALID_SUBJECT', 'INVALID_HEADERS', 'INVALID_JSON', 'TOO_LARGE', 'INVALID_EVENT_ID', 'INVALID_OCCURRED_AT',
  'INVALID_CLOUD_EVENT'
);
CREATE TYPE delivery_status AS ENUM ('PENDING', 'SUCCESS', 'FAILURE', 'CANCELLED');
CREATE TYPE wait_reason AS ENUM ('BACKOFF');
CREATE TYPE attempt_status AS ENUM ('SUCCESS', 'FAILURE');
CREATE TYPE failure_reason AS ENUM (
  'HTTP_STATUS', 'REDIRECT', 'TIMEOUT', 'CONNECTION_REFUSED', 'CONNECTION_RESET', 'UNREACHABLE', 'DNS_FAILURE',
  'BLOCKED_TARGET', 'TLS_FAILURE', 'INVALID_RESPONSE', 'INVALID_REQUEST', 'OTHER'
);

CREATE TABLE tenants (
  name    text PRIMARY KEY,
  version bigint NOT NULL DEFAULT 0
);

CREATE TABLE webhook_subscriptions (
  id                uuid PRIMARY KEY,
  tenant            text NOT NULL,
  url               text NOT NULL,
  description       text NOT NULL DEFAULT '',
  event_types       text[] NOT NULL,
  is_active         boolean NOT NULL DEFAULT true,
  timeout_ms        integer NOT NULL DEFAULT 5000,
  header_names      text[] NOT NULL DEFAULT '{}',
  encrypted_headers text,
  version           bigint NOT NULL DEFAULT 0,
  created_at        timestamptz(3) NOT NULL DEFAULT now(),
  updated_at        timestamptz(3) NOT NULL DEFAULT now(),
  deleted_at        timestamptz(3)
);
CREATE INDEX webhook_subscriptions_tenant_version_idx ON webhook_subscriptions (tenant, version);
CREATE INDEX webhook_subscriptions_tenant_id_idx ON webhook_subscriptions (tenant, id);

-- Every change takes the tenant's next version and tells the senders' caches. The row of `tenants` stays locked until
-- commit, so versions become visible in their own order: who has seen version n has seen everything up to n.
CREATE FUNCTION webhook_subscription_changed() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TABLE signing_secrets (
  id               uuid PRIMARY KEY,
  subscription_id  uuid NOT NULL REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
  encrypted_secret text NOT NULL,
  created_at       timestamptz(3) NOT NULL DEFAULT now(),
  expires_at       timestamptz(3)
);
CREATE INDEX signing_secrets_subscription_id_idx ON signing_secrets (subscription_id);

CREATE TABLE events (
  id          uuid PRIMARY KEY,
  tenant      text NOT NULL,
  event_id    text NOT NULL,
  type        text NOT NULL,
  occurred_at timestamptz(3) NOT NULL,
  data        bytea NOT NULL,
  created_at  timestamptz(3) NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX events_tenant_event_id_key ON events (tenant, event_id);
CREATE INDEX events_tenant_id_idx ON events (tenant, id);

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

-- No foreign keys on the big tables: each insert would lock and read the parents, and the ids are derived, not typed in.
CREATE TABLE deliveries (
  id              uuid PRIMARY KEY,
  tenant          text NOT NULL,
  subscription_id uuid NOT NULL,
  event_id        uuid NOT NULL,
  event_type      text NOT NULL,
  status          delivery_status NOT NULL DEFAULT 'PENDING',
  attempt_count   integer NOT NULL DEFAULT 0,
  next_attempt_at timestamptz(3),
  waiting_for     wait_reason,
  enqueued_at     timestamptz(3),
  enqueue_count   integer NOT NULL DEFAULT 0,
  leased_until    timestamptz(3),
  created_at      timestamptz(3) NOT NULL DEFAULT now(),
  completed_at    timestamptz(3)
);
CREATE INDEX deliveries_tenant_id_idx ON deliveries (tenant, id);
CREATE INDEX deliveries_subscription_id_id_idx ON deliveries (subscription_id, id);
CREATE INDEX deliveries_event_id_idx ON deliveries (event_id);
-- What waits in Postgres, by when it is due; and what should have a live message, by when that was published.
CREATE INDEX deliveries_waiting_idx ON deliveries (next_attempt_at) WHERE status = 'PENDING' AND enqueued_at IS NULL;
CREATE INDEX deliveries_enqueued_idx ON deliveries (enqueued_at) WHERE status = 'PENDING' AND enqueued_at IS NOT NULL;

CREATE TABLE attempts (
  id                      uuid PRIMARY KEY,
  delivery_id             uuid NOT NULL,
  subscription_id         uuid NOT NULL,
  tenant                  text NOT NULL,
  event_type              text NOT NULL,
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
  payload_size_bytes      integer NOT NULL
);
CREATE INDEX attempts_tenant_id_idx ON attempts (tenant, id);
CREATE INDEX attempts_subscription_id_id_idx ON attempts (subscription_id, id);
CREATE INDEX attempts_delivery_id_number_idx ON attempts (delivery_id, number);
