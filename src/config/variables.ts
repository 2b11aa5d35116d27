import { availableParallelism } from 'node:os';
import { ALERT_FORMATS } from '../alerts/message.ts';
import { LOG_ATTEMPTS } from '../delivery/sending/attempt-metrics.ts';
import { DEFAULT_POOL_SIZE } from '../postgres/connection.ts';
import { EGRESS } from './egress.ts';
import { NATS, parseNatsServers } from './nats.ts';
import {
  countOf,
  oneOf,
  parseAdminApiKeys,
  parseBoolean,
  parseDatabaseUrl,
  parseHttpUrl,
  parseJwksUrl,
  parseOrigins,
  parsePort,
  parsePublicUrl,
  parseRoles,
  parseSchedule,
  parseSecret,
  parseSecretsKeys,
  parseSigningSecret,
  parseText,
} from './parsers.ts';
import { listVariables, variable } from './table.ts';
import { TRACING } from './tracing.ts';

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
const MAX_DEFAULT_WORKERS = 8;

/** The number of worker processes: 0 with one or two processors; otherwise one processor is left to Postgres and NATS. */
export function defaultWorkers(processors: number): number {
  return processors <= 2 ? 0 : Math.min(MAX_DEFAULT_WORKERS, processors - 1);
}

/**
 * All environment variables. A variable has the same key here as in Config. Parsing, defaults, the type of Config, the
 * errors, `--help` and docs/configuration.md derive from this table.
 */
export const TABLE = {
  port: variable('PORT', {
    parse: parsePort,
    default: '4000',
    meaning: 'The port that HTTP and WebSocket listen on. 0: any free port.',
  }),
  host: variable('HOST', {
    parse: parseText,
    default: '127.0.0.1',
    meaning:
      'The address that HTTP and WebSocket listen on. `0.0.0.0`: every IPv4 address of this machine. `::`: every IPv4 and IPv6 address, or only every IPv4 address if the kernel has no IPv6.',
  }),
  databaseUrl: variable('DATABASE_URL', {
    parse: parseDatabaseUrl,
    isSecret: true,
    meaning:
      'Postgres 14 or newer: `postgres://…`. `?schema=…` names the schema of the tables, by default `public` ([Postgres](postgres.md)). Unset: an embedded Postgres under `DATA_DIR`.',
  }),
  databaseDirectUrl: variable('DATABASE_DIRECT_URL', {
    parse: parseDatabaseUrl,
    isSecret: true,
    meaning:
      'The address of Postgres itself, for migrations, locks and notifications, if `DATABASE_URL` leads to a pooler in transaction mode, such as PgBouncer.',
  }),
  databasePoolSize: variable('DATABASE_POOL_SIZE', {
    parse: countOf(1_000, 2),
    default: `${DEFAULT_POOL_SIZE}`,
    meaning:
      'Maximum connections to Postgres, 2 to 1000, in the pools of a process: half of them for deliveries, half for GraphQL. A process opens [up to three more](postgres.md#connections).',
  }),
  natsServers: variable('NATS_URL', {
    parse: parseNatsServers,
    isSecret: true,
    meaning:
      'nats-server 2.9 or newer with JetStream: `nats://…` or `tls://…`, or several of them, comma-separated, for a cluster. One of them can contain `user:password@` or `token@`, percent-encoded. Unset: an embedded nats-server under `DATA_DIR`. Its address, with user and password, is written to `DATA_DIR/nats-url` (mode 0600).',
  }),
  natsPort: variable('NATS_PORT', {
    parse: parsePort,
    meaning:
      'The loopback port of the embedded nats-server; 0: any free port. Unset: a free port at the first start, and the same port after each restart unless another program uses it.',
  }),
  nats: NATS,
  dataDir: variable('DATA_DIR', {
    parse: parseText,
    default: '.data',
    meaning: "The folder of the embedded servers' data and of the generated keys (files of mode 0600).",
  }),
  roles: variable('ROLES', {
    parse: parseRoles,
    default: 'api,dispatcher,sender',
    meaning: 'The roles that this process runs.',
  }),
  workers: variable('WORKERS', {
    parse: countOf(64, 0),
    shownDefault: 'by the number of processors',
    fallback: () => defaultWorkers(availableParallelism()),
    meaning:
      'Worker processes, 0 to 64, that run the roles `dispatcher` and `sender` in place of this process, which starts, supervises and stops them ([scaling](scaling.md)). 0: this process runs all its roles itself. Unset: 0 with one or two processors, otherwise one less than the number of processors, at most 8.',
  }),
  adminApiKeys: variable('ADMIN_API_KEY', {
    parse: parseAdminApiKeys,
    shownDefault: 'generated',
    isSecret: true,
    meaning:
      'Full access to every tenant; at least 32 characters, without commas. Several keys, separated by commas, are all accepted ([rotation](rotation.md)). Unset: generated at the first start and kept in `DATA_DIR/admin-api-key`.',
  }),
  jwt: {
    secret: variable('JWT_SECRET', {
      parse: parseSecret,
      isSecret: true,
      meaning:
        "Verifies JWTs of tenants' front ends, signed with HS256; at least 32 characters. If neither this nor `JWT_JWKS_URL` is set, JWTs are rejected. The same in every process.",
    }),
    jwksUrl: variable('JWT_JWKS_URL', {
      parse: parseJwksUrl,
      meaning:
        'In place of `JWT_SECRET`: the URL of the public keys (a JWK Set) that verify JWTs signed with RS256, ES256 or EdDSA; `https://…`, on loopback also `http://…`.',
    }),
  },
  secretsKeys: variable('SECRETS_KEY', {
    parse: parseSecretsKeys,
    shownDefault: 'generated',
    isSecret: true,
    meaning:
      'The key that encrypts signing secrets and custom headers at rest: 32 bytes in base64. Several keys, separated by commas: the first one encrypts, all of them decrypt ([rotation](rotation.md)). The same in every process. Unset: generated in `DATA_DIR/secrets-key` with the embedded Postgres, an error with `DATABASE_URL`. Without the key, the stored signing secrets and custom headers are lost.',
  }),
  metricsToken: variable('METRICS_TOKEN', {
    parse: parseSecret,
    isSecret: true,
    meaning:
      'Grants access to `GET /metrics` alone; at least 32 characters. For Prometheus, which then does not need the admin key. The admin key grants this access too.',
  }),
  isConsoleEnabled: variable('CONSOLE', {
    parse: parseBoolean,
    default: 'true',
    meaning:
      'Whether the role `api` serves the [console](console.md) at `GET /console/` and the [portal](portal.md) at `GET /portal/`.',
  }),
  publicUrl: variable('PUBLIC_URL', {
    parse: parsePublicUrl,
    meaning:
      'The URL at which browsers reach this server, `https://hooks.example.com/path`, if a proxy serves it under a path: the proxy removes the path from requests, and the pages of the console add it to their links. Unset: no path.',
  }),
  portalOrigins: variable('PORTAL_ORIGINS', {
    parse: parseOrigins,
    fallback: () => [],
    meaning:
      'Origins whose pages may embed the [portal](portal.md) and pass tokens to it, comma-separated and exact: `https://app.example.com`. Unset: none; one-time links still work.',
  }),
  api: {
    corsOrigins: variable('CORS_ORIGINS', {
      parse: parseOrigins,
      fallback: () => [],
      meaning:
        'Origins whose pages may use GraphQL from a browser, comma-separated and exact: `https://console.example.com`. Unset: only pages of the server itself.',
    }),
    introspection: variable('GRAPHQL_INTROSPECTION', {
      parse: parseBoolean,
      fallback: ({ isProduction }) => !isProduction,
      meaning:
        '`true`: clients can query the schema, errors suggest names, and `GET /graphql` shows GraphiQL. `false`: none of these. Unset: `false` if `NODE_ENV` is `production`, otherwise `true`.',
    }),
    rateLimit: variable('API_RATE_LIMIT', {
      parse: countOf(100_000),
      default: '100',
      meaning:
        'Maximum GraphQL operations per second, 1 to 100000, that each credential may start at each process; after a pause, twice this number at once. The admin key is not limited.',
    }),
  },
  egress: EGRESS,
  maxSubscriptionsPerTenant: variable('MAX_SUBSCRIPTIONS_PER_TENANT', {
    parse: countOf(10_000),
    default: '1000',
    meaning:
      'Maximum webhook subscriptions of a tenant, 1 to 10000, active or not; deleted ones do not count. Creating another one fails (`TOO_MANY_SUBSCRIPTIONS`); existing ones are kept. The deliveries of an event are written in one transaction, about 0.1 ms each, and events of other tenants wait for it.',
  }),
  retryScheduleMs: variable('RETRY_SCHEDULE', {
    parse: parseSchedule,
    default: '5s,30s,2m,10m,30m,2h,5h,10h,14h',
    meaning:
      'Waits before attempts 2, 3, … (`ms`, `s`, `m`, `h`, `d`), each with ±20 % jitter; at most 30 waits, each at most 7 days. If the attempt after the last wait fails, the delivery has failed.',
  }),
  retention: {
    days: variable('RETENTION_DAYS', {
      parse: countOf(3_650),
      default: '30',
      meaning:
        'Minimum days, 1 to 3650, for which events, deliveries and attempts are kept; they are deleted at most a fifteenth of that time (in whole days) later. Pending deliveries and their events are kept until the deliveries have ended. The same in every process.',
    }),
    maxPerSubscription: variable('RETENTION_MAX_PER_SUBSCRIPTION', {
      parse: countOf(1_000_000),
      meaning:
        'Maximum ended deliveries, 1 to 1000000, that are kept of each subscription with their attempts: the newest ones. Older ones are deleted hourly. Unset: no maximum.',
    }),
    auditLogDays: variable('AUDIT_LOG_RETENTION_DAYS', {
      parse: countOf(36_500),
      default: '365',
      meaning: 'Days, 1 to 36500, for which the audit log is kept. The same in every process.',
    }),
  },
  logLevel: variable('LOG_LEVEL', {
    parse: oneOf(LOG_LEVELS),
    default: 'info',
    meaning: '`trace`, `debug`, `info`, `warn`, `error` or `silent`; the log is JSON lines on standard output.',
  }),
  logAttempts: variable('LOG_ATTEMPTS', {
    parse: oneOf(LOG_ATTEMPTS),
    default: 'all',
    meaning:
      'The attempts that get a log line `delivery.attempted`: `all`, `failures` (failed attempts) or `none`. The delivery log contains all attempts in any case.',
  }),
  alerts: {
    url: variable('ALERT_WEBHOOK_URL', {
      parse: parseHttpUrl,
      isSecret: true,
      meaning:
        "The operator's webhook, which receives [alerts](alerts.md): open circuits, deactivated subscriptions, overdue deliveries, rejected events, full streams and disks. Any `http://` or `https://` address except those of metadata services. The same in every process.",
    }),
    secret: variable('ALERT_WEBHOOK_SECRET', {
      parse: parseSigningSecret,
      isSecret: true,
      meaning: 'Signs alerts as Standard Webhooks: `whsec_…`. Unset: alerts are not signed.',
    }),
    format: variable('ALERT_WEBHOOK_FORMAT', {
      parse: oneOf(ALERT_FORMATS),
      default: 'standard',
      meaning: '`standard`, or `slack` for an incoming webhook of Slack or Mattermost.',
    }),
  },
  tracing: TRACING,
  sendsTraceParent: variable('SEND_TRACEPARENT', {
    parse: parseBoolean,
    default: 'true',
    meaning:
      'Whether webhooks carry the header `traceparent` while traces are on, so that receivers can continue them.',
  }),
};

/** The variables of TABLE in the same order. */
export const VARIABLES = listVariables(TABLE);
