import { DEFAULT_DENY_PORTS } from '../delivery/http/egress-policy.ts';
import { DEFAULT_POOL_SIZE } from '../postgres/connection.ts';

type Variable = { readonly name: string; readonly default: string; readonly meaning: string };

export const DEFAULT_RETRY_SCHEDULE = '5s,30s,2m,10m,30m,2h,5h,10h,14h';

/** An empty list is a value of its own here, not the default. */
export const CAN_BE_EMPTY: ReadonlySet<string> = new Set(['EGRESS_ALLOW_CIDRS', 'EGRESS_DENY_PORTS']);

/** Every variable there is; docs/configuration.md is printed from this table. */
export const VARIABLES: readonly Variable[] = [
  { name: 'PORT', default: '4000', meaning: 'Where HTTP and WebSocket listen. 0 takes any free port.' },
  { name: 'HOST', default: '127.0.0.1', meaning: 'The address HTTP and WebSocket listen on.' },
  {
    name: 'DATABASE_URL',
    default: 'unset',
    meaning:
      'Postgres 14 or newer, `postgres://…`; `?schema=…` names the schema of the tables, by default `public` ([Postgres](postgres.md)). Unset: an embedded Postgres under `DATA_DIR`.',
  },
  {
    name: 'DATABASE_DIRECT_URL',
    default: 'unset',
    meaning:
      'The address of Postgres itself when `DATABASE_URL` leads to a pooler in transaction mode, such as PgBouncer: for migrations, locks and notifications.',
  },
  {
    name: 'DATABASE_POOL_SIZE',
    default: `${DEFAULT_POOL_SIZE}`,
    meaning:
      'Maximum connections to Postgres, 2 to 1000, in the pools of a process, half of them for deliveries and half for GraphQL. A process takes [up to four more](postgres.md#connections).',
  },
  {
    name: 'NATS_URL',
    default: 'unset',
    meaning:
      'nats-server 2.9 or newer with JetStream, `nats://…` or `tls://…`, comma-separated for a cluster, with `user:password@` or `token@` in one of them, percent-encoded. Unset: an embedded nats-server under `DATA_DIR`; its address, with user and password, is written to `DATA_DIR/nats-url` (mode 0600).',
  },
  {
    name: 'NATS_PORT',
    default: 'unset',
    meaning:
      'The loopback port of the embedded nats-server; 0 takes any free port. Unset: a free port at the first start, and the same after each restart unless another program has taken it.',
  },
  {
    name: 'NATS_PREFIX',
    default: 'empty',
    meaning:
      'Goes before every stream (`<prefix>_EVENTS`), consumer and subject (`<prefix>.events.<tenant>.<type>`), so that several installations can share a NATS account: 1 to 32 letters, digits, `_` or `-`. The same in every process; with another one, what is in the streams of the old one stays there.',
  },
  {
    name: 'NATS_REPLICAS',
    default: '1',
    meaning: 'Replicas of the streams that are created: 1, or 3 or 5 in a cluster. Existing streams stay as they are.',
  },
  {
    name: 'NATS_EVENTS_MAX_BYTES',
    default: '8GiB',
    meaning:
      'The size of the stream EVENTS when it is created, at least `4MiB`, in `MiB` or `GiB`; smaller where JetStream has [less room](nats-server.md#room). An existing stream stays as it is.',
  },
  {
    name: 'NATS_DELIVERIES_MAX_BYTES',
    default: '1GiB',
    meaning: 'The same for the stream DELIVERIES.',
  },
  {
    name: 'NATS_CREDS',
    default: 'unset',
    meaning:
      "A credentials file (a user's JWT and seed), in place of a password in `NATS_URL`. Read again at each connection.",
  },
  {
    name: 'NATS_CA_FILE',
    default: 'unset',
    meaning: 'The certificates (PEM) that the servers are verified with. With it, the connection is TLS or nothing.',
  },
  {
    name: 'NATS_CERT_FILE',
    default: 'unset',
    meaning: 'A client certificate (PEM) to log in with, and `NATS_KEY_FILE`. Read again at each connection.',
  },
  { name: 'NATS_KEY_FILE', default: 'unset', meaning: 'The key of `NATS_CERT_FILE` (PEM).' },
  { name: 'DATA_DIR', default: '.data', meaning: 'Embedded data and generated keys (files of mode 0600).' },
  { name: 'ROLES', default: 'api,dispatcher,sender', meaning: 'Which roles this process runs.' },
  {
    name: 'ADMIN_API_KEY',
    default: 'generated',
    meaning:
      'Full access to every tenant; at least 32 characters. Unset: generated at the first start and kept in `DATA_DIR/admin-api-key`.',
  },
  {
    name: 'JWT_SECRET',
    default: 'unset',
    meaning:
      "Verifies JWTs of tenants' front ends, signed with HS256; at least 32 characters. Without this and `JWT_JWKS_URL`, JWTs are refused. The same in every process.",
  },
  {
    name: 'JWT_JWKS_URL',
    default: 'unset',
    meaning:
      'In place of `JWT_SECRET`: where the public keys are (a JWK Set) that verify JWTs signed with RS256, ES256 or EdDSA; `https://…`, on loopback also `http://…`.',
  },
  {
    name: 'SECRETS_KEY',
    default: 'generated',
    meaning:
      '32 bytes in base64, encrypts signing secrets and custom headers at rest. Unset: generated in `DATA_DIR/secrets-key` with the embedded Postgres, an error with `DATABASE_URL`. Losing it loses every signing secret.',
  },
  {
    name: 'METRICS_TOKEN',
    default: 'unset',
    meaning:
      'Opens `GET /metrics` and nothing else; at least 32 characters. For Prometheus, so that it need not have the admin key, which opens it as well.',
  },
  {
    name: 'CORS_ORIGINS',
    default: 'unset',
    meaning:
      'Origins whose pages may use GraphQL from a browser, comma-separated and exact: `https://console.example.com`. Unset: only pages of our own origin.',
  },
  {
    name: 'GRAPHQL_INTROSPECTION',
    default: 'unset',
    meaning:
      '`true` lets clients ask for the schema, suggests names in errors, and shows GraphiQL at `GET /graphql`; `false` does none of that. Unset: `false` if `NODE_ENV` is `production`, otherwise `true`.',
  },
  {
    name: 'API_RATE_LIMIT',
    default: '100',
    meaning:
      'How many GraphQL operations per second, 1 to 100000, each credential may begin at each process; twice as many at once after a pause. The admin key is not limited.',
  },
  {
    name: 'EGRESS_ALLOW_CIDRS',
    default: 'empty',
    meaning:
      'Private ranges that targets may nevertheless use, comma-separated. With the embedded Postgres the default is `127.0.0.0/8,::1/128`; setting it, even to nothing, replaces that.',
  },
  {
    name: 'EGRESS_ALLOW_HTTP',
    default: 'false',
    meaning:
      '`true` allows `http://` to every permitted address; otherwise only `https://`. Unset with the embedded Postgres: `http://` to loopback is allowed.',
  },
  {
    name: 'EGRESS_DENY_PORTS',
    default: DEFAULT_DENY_PORTS,
    meaning:
      'Ports that no target may use, comma-separated, with ranges such as `6000-6063`: those of other protocols. Setting it replaces the list; set to nothing, every port is allowed.',
  },
  {
    name: 'EGRESS_DNS_SERVERS',
    default: "the machine's",
    meaning: 'Name servers that resolve targets, comma-separated `address` or `address:port`.',
  },
  {
    name: 'MAX_SUBSCRIPTIONS_PER_TENANT',
    default: '1000',
    meaning:
      'How many webhook subscriptions, 1 to 10000, a tenant may have, active or not; deleted ones do not count. Creating one more is refused (`TOO_MANY_SUBSCRIPTIONS`); those that exist go on working. The deliveries of an event are written in one transaction, some 0.1 ms each, in which events of other tenants wait.',
  },
  {
    name: 'RETRY_SCHEDULE',
    default: DEFAULT_RETRY_SCHEDULE,
    meaning:
      'Waits before attempts 2, 3, … (`ms`, `s`, `m`, `h`, `d`), each with ±20 % jitter; at most 30 of them, each at most 7 days. After the last attempt the delivery has failed.',
  },
  {
    name: 'RETENTION_DAYS',
    default: '30',
    meaning:
      'For how many days, 1 to 3650, events, deliveries and attempts are kept at least; they are dropped within a fifteenth of that time (in whole days) after it. Deliveries that are pending, and their events, stay until they have ended. The same in every process.',
  },
  {
    name: 'RETENTION_MAX_PER_SUBSCRIPTION',
    default: 'unset',
    meaning:
      'How many ended deliveries, 1 to 1000000, are kept of each subscription with their attempts, the newest ones; older ones are deleted hourly. Unset: as many as there are.',
  },
  {
    name: 'LOG_LEVEL',
    default: 'info',
    meaning: '`trace`, `debug`, `info`, `warn`, `error` or `silent`; the log is JSON lines on standard output.',
  },
  {
    name: 'LOG_ATTEMPTS',
    default: 'all',
    meaning:
      'Which attempts get a line `delivery.attempted` in the log: `all`, `failures` (attempts that failed) or `none`. The delivery log has all of them in any case.',
  },
];
