/** Runs one SQL statement, like Stack.query. */
type Query = (sql: string, values?: unknown[]) => Promise<unknown>;

export type SeedOptions = {
  /** The number of attempts and of deliveries. There are a quarter as many events. */
  readonly rows: number;
  /** The rows are spread evenly over this many days before `nowMs`. */
  readonly days: number;
  readonly nowMs: number;
};

export type SeedRange = SeedOptions & {
  /** The rows to insert, numbered from the oldest: `from` is included, `to` is not. */
  readonly from: number;
  readonly to: number;
  /** Called after each chunk with its number of rows. */
  readonly onChunk?: (rows: number) => void;
};

const CHUNK = 50_000;
const DAY_MS = 86_400_000;

/**
 * Fills the log with history. One tenant (`big`, 50 subscriptions) has 60 % of the rows, ten tenants (`mid-0` …) have
 * 3 % each, and 500 (`small-0` …) have the rest. 2 % of the attempts failed, one in 10,000 with TLS_FAILURE. Timeouts took 5 s, one
 * attempt in 10,000 took 20 s. 2 % are retries, one in 10,000 the tenth attempt. One delivery in 10,000 is pending. One event in 10,000 is an `audit.exported`. Tables have the rows in the order of their ids, as the
 * program inserts them: plans depend on it.
 */
export async function seedLog(query: Query, options: SeedOptions): Promise<void> {
  await seedSubscriptions(query);
  await seedRange(query, { ...options, from: 0, to: options.rows });
}

/** Inserts the subscriptions that the rows refer to. */
export async function seedSubscriptions(query: Query): Promise<void> {
  await query('SELECT setseed(0.5)');
  await query(TARGETS);
  await query(SUBSCRIPTIONS);
}

/** Inserts a part of the rows, so that several connections can share the work. `query` must use one connection. */
export async function seedRange(query: Query, { rows, days, nowMs, from, to, onChunk }: SeedRange): Promise<void> {
  const spanMs = days * DAY_MS;
  for (let start = from; start < to; start += CHUNK) {
    const end = Math.min(start + CHUNK, to);
    await query('SELECT setseed($1)', [start / rows]);
    await query(DRAFTS, [start, end - 1, nowMs - spanMs, spanMs / rows]);
    for (const statement of [EVENTS, DELIVERIES, ATTEMPTS, 'DROP TABLE seed_drafts']) await query(statement);
    onChunk?.(end - start);
  }
}

/** 10,000 slots with a subscription each. Each row draws its subscription from them. */
const TARGETS = `
  CREATE TABLE seed_targets AS
  SELECT slot, tenant, md5(tenant || '/' || subscription)::uuid AS subscription_id FROM (
    SELECT slot,
      CASE WHEN slot < 6000 THEN 'big' WHEN slot < 9000 THEN 'mid-' || slot % 10 ELSE 'small-' || slot % 500 END AS tenant,
      CASE WHEN slot < 6000 THEN floor(50 * power(random(), 2)) ELSE slot / 10 % 3 END AS subscription
    FROM generate_series(0, 9999) AS slot
  ) AS drawn`;

const SUBSCRIPTIONS = `
  INSERT INTO webhook_subscriptions (id, tenant, url, event_types)
  SELECT DISTINCT subscription_id, tenant, 'https://example.invalid', ARRAY['*'] FROM seed_targets`;

/** $1 to $2: the rows' numbers; $3: the time of row 0 in milliseconds; $4: milliseconds between rows. */
const DRAFTS = `
  CREATE TEMP TABLE seed_drafts AS
  SELECT n, ms, slot, chance, type_chance, latency_ms, to_timestamp(ms / 1000.0) AS at,
    (lpad(to_hex(ms), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid AS id,
    (lpad(to_hex(event_ms), 12, '0') || '7' || substr(event_hash, 1, 3) || '8' || substr(event_hash, 4, 15))::uuid AS event_id,
    n % 4 = 0 AS is_first
  FROM (
    SELECT n, ($3::float8 + n * $4::float8)::bigint AS ms, ($3::float8 + (n - n % 4) * $4::float8)::bigint AS event_ms, md5(n::text) AS hash, md5('event' || n / 4) AS event_hash,
      floor(random() * 10000)::integer AS slot, random() AS chance, random() AS type_chance,
      (20 + 30 * -ln(1 - random()))::integer AS latency_ms
    FROM generate_series($1::bigint, $2::bigint) AS n
  ) AS drawn`;

const TYPE = `CASE WHEN type_chance < 0.0001 THEN 'audit.exported'
    ELSE (ARRAY['conversation.created', 'conversation.closed', 'conversation.message.created', 'visitor.arrived',
      'visitor.left', 'order.placed', 'order.paid', 'ticket.opened'])[1 + floor(8 * power(type_chance, 2))::integer] END`;

const EVENTS = `
  INSERT INTO events (id, tenant, event_id, type, occurred_at, data, created_at)
  SELECT event_id, tenant, event_id::text, ${TYPE}, at, convert_to('{"text":"' || repeat(md5(n::text), 12) || '"}', 'UTF8'), at
  FROM seed_drafts JOIN seed_targets USING (slot) WHERE is_first ORDER BY n`;

const DELIVERIES = `
  INSERT INTO deliveries (id, tenant, subscription_id, event_id, event_type, status, attempt_count, next_attempt_at,
    created_at, completed_at)
  SELECT id, tenant, subscription_id, event_id, ${TYPE}, status::delivery_status, 1,
    CASE WHEN status = 'PENDING' THEN now() + interval '1 day' END, at, CASE WHEN status <> 'PENDING' THEN at END
  FROM (
    SELECT *, CASE WHEN chance < 0.0001 THEN 'PENDING' WHEN chance < 0.0201 THEN 'FAILURE' ELSE 'SUCCESS' END AS status
    FROM seed_drafts
  ) AS drawn JOIN seed_targets USING (slot) ORDER BY n`;

const ATTEMPTS = `
  INSERT INTO attempts (id, delivery_id, subscription_id, tenant, event_type, number, status, failure_reason, status_code,
    response_time_ms, started_at, url, request_headers, response_headers, response_body, payload_size_bytes)
  SELECT id, id, subscription_id, tenant, ${TYPE},
    CASE WHEN chance < 0.0102 THEN 1 WHEN chance < 0.0103 THEN 10 WHEN chance < 0.0303 THEN 2 ELSE 1 END,
    CASE WHEN reason IS NULL THEN 'SUCCESS' ELSE 'FAILURE' END::attempt_status, reason::failure_reason,
    CASE WHEN reason IS NULL THEN 200 WHEN reason = 'HTTP_STATUS' THEN 500 + n % 4 END,
    CASE WHEN reason = 'TIMEOUT' THEN 5000 WHEN chance BETWEEN 0.04 AND 0.0401 THEN 20000 ELSE latency_ms END,
    at - latency_ms * interval '1 millisecond', 'https://example.invalid',
    jsonb_build_object('content-type', 'application/json', 'webhook-id', event_id, 'webhook-delivery', id,
      'webhook-timestamp', ms / 1000, 'webhook-signature', 'v1,' || md5(n::text), 'user-agent', 'webhooks-engine/0.1.0',
      'webhook-event', ${TYPE}, 'x-hub-signature-256', 'sha256=' || repeat(md5(n::text), 2)),
    jsonb_build_object('content-type', 'text/plain', 'date', at, 'server', 'nginx', 'x-request-id', md5(n::text)),
    repeat(md5(n::text), 8), 420
  FROM (
    SELECT *, CASE WHEN chance < 0.0001 THEN 'TLS_FAILURE' WHEN chance < 0.005 THEN 'TIMEOUT'
      WHEN chance < 0.0201 THEN 'HTTP_STATUS' END AS reason
    FROM seed_drafts
  ) AS drawn JOIN seed_targets USING (slot) ORDER BY n`;
