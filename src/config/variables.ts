import { availableParallelism } from 'node:os';
import { DEFAULT_DENY_PORTS } from '../delivery/http/egress-policy.ts';
import { DELIVERIES_MAX_BYTES, EVENTS_MAX_BYTES } from '../nats/streams.ts';
import { DEFAULT_POOL_SIZE } from '../postgres/connection.ts';
import {
  countOf,
  parseAdminApiKeys,
  parseAlertFormat,
  parseAllowHttp,
  parseBoolean,
  parseCidrs,
  parseCredentialsFile,
  parseDatabaseUrl,
  parseDnsServers,
  parseHttpUrl,
  parseJwksUrl,
  parseLogAttempts,
  parseLogLevel,
  parseNatsPrefix,
  parseNatsServers,
  parseOrigins,
  parseOtlpProtocol,
  parsePairs,
  parsePemFile,
  parsePort,
  parsePorts,
  parseProxy,
  parsePublicUrl,
  parseRatio,
  parseReplicas,
  parseRoles,
  parseSampler,
  parseSchedule,
  parseSecret,
  parseSecretsKeys,
  parseSigningSecret,
  parseSourceAddresses,
  parseStreamBytes,
  parseText,
  parseTracesExporter,
} from './values.ts';
import { listVariables, variable } from './variable.ts';

const GIB = 1024 ** 3;
const MAX_DEFAULT_WORKERS = 8;

/** None where Postgres and NATS take a share of one or two processors; otherwise one processor is left to them. */
export function defaultWorkers(processors: number): number {
  return processors <= 2 ? 0 : Math.min(MAX_DEFAULT_WORKERS, processors - 1);
}

/**
 * Every variable there is. Its place is its place in Config. Parsing, defaults, the type of Config, the errors, `--help` and
 * docs/configuration.md derive from this table.
 */
export const TABLE = {
  port: variable('PORT', {
    parse: parsePort,
    default: '4000',
    meaning: 'Where HTTP and WebSocket listen. 0 takes any free port.',
  }),
  host: variable('HOST', {
    parse: parseText,
    default: '127.0.0.1',
    meaning: 'The address HTTP and WebSocket listen on.',
  }),
  databaseUrl: variable('DATABASE_URL', {
    parse: parseDatabaseUrl,
    isSecret: true,
    meaning:
      'Postgres 14 or newer, `postgres://…`; `?schema=…` names the schema of the tables, by default `public` ([Postgres](postgres.md)). Unset: an embedded Postgres under `DATA_DIR`.',
  }),
  databaseDirectUrl: variable('DATABASE_DIRECT_URL', {
    parse: parseDatabaseUrl,
    isSecret: true,
    meaning:
      'The address of Postgres itself when `DATABASE_URL` leads to a pooler in transaction mode, such as PgBouncer: for migrations, locks and notifications.',
  }),
  databasePoolSize: variable('DATABASE_POOL_SIZE', {
    parse: countOf(1_000, 2),
    default: `${DEFAULT_POOL_SIZE}`,
    meaning:
      'Maximum connections to Postgres, 2 to 1000, in the pools of a process, half of them for deliveries and half for GraphQL. A process takes [up to four more](postgres.md#connections).',
  }),
  natsServers: variable('NATS_URL', {
    parse: parseNatsServers,
    isSecret: true,
    meaning:
      'nats-server 2.9 or newer with JetStream, `nats://…` or `tls://…`, comma-separated for a cluster, with `user:password@` or `token@` in one of them, percent-encoded. Unset: an embedded nats-server under `DATA_DIR`; its address, with user and password, is written to `DATA_DIR/nats-url` (mode 0600).',
  }),
  natsPort: variable('NATS_PORT', {
    parse: parsePort,
    meaning:
      'The loopback port of the embedded nats-server; 0 takes any free port. Unset: a free port at the first start, and the same after each restart unless another program has taken it.',
  }),
  nats: {
    prefix: variable('NATS_PREFIX', {
      parse: parseNatsPrefix,
      shownDefault: 'empty',
      fallback: () => '',
      meaning:
        'Goes before every stream (`<prefix>_EVENTS`), consumer and subject (`<prefix>.events.<tenant>.<type>`), so that several installations can share a NATS account: 1 to 32 letters, digits, `_` or `-`. The same in every process; with another one, what is in the streams of the old one stays there.',
    }),
    streams: {
      replicas: variable('NATS_REPLICAS', {
        parse: parseReplicas,
        default: '1',
        meaning:
          'Replicas of the streams that are created: 1, or 3 or 5 in a cluster. Existing streams stay as they are.',
      }),
      eventsMaxBytes: variable('NATS_EVENTS_MAX_BYTES', {
        parse: parseStreamBytes,
        default: `${EVENTS_MAX_BYTES / GIB}GiB`,
        meaning:
          'The size of the stream EVENTS when it is created, at least `4MiB`, in `MiB` or `GiB`; smaller where JetStream has [less room](nats-server.md#room). An existing stream stays as it is.',
      }),
      deliveriesMaxBytes: variable('NATS_DELIVERIES_MAX_BYTES', {
        parse: parseStreamBytes,
        default: `${DELIVERIES_MAX_BYTES / GIB}GiB`,
        meaning: 'The same for the stream DELIVERIES.',
      }),
    },
    login: {
      credentialsFile: variable('NATS_CREDS', {
        parse: parseCredentialsFile,
        meaning:
          "A credentials file (a user's JWT and seed), in place of a password in `NATS_URL`. Read again at each connection.",
      }),
      caFile: variable('NATS_CA_FILE', {
        parse: parsePemFile,
        meaning:
          'The certificates (PEM) that the servers are verified with. With it, the connection is TLS or nothing.',
      }),
      certFile: variable('NATS_CERT_FILE', {
        parse: parsePemFile,
        meaning: 'A client certificate (PEM) to log in with, and `NATS_KEY_FILE`. Read again at each connection.',
      }),
      keyFile: variable('NATS_KEY_FILE', { parse: parsePemFile, meaning: 'The key of `NATS_CERT_FILE` (PEM).' }),
    },
  },
  dataDir: variable('DATA_DIR', {
    parse: parseText,
    default: '.data',
    meaning: 'Embedded data and generated keys (files of mode 0600).',
  }),
  roles: variable('ROLES', {
    parse: parseRoles,
    default: 'api,dispatcher,sender',
    meaning: 'Which roles this process runs.',
  }),
  workers: variable('WORKERS', {
    parse: countOf(64, 0),
    shownDefault: 'by the processors',
    fallback: () => defaultWorkers(availableParallelism()),
    meaning:
      'Worker processes, 0 to 64, that run the roles `dispatcher` and `sender` in place of this process, which starts, watches and stops them ([scaling](scaling.md)). 0: this process runs all its roles itself. Unset: 0 on one or two processors, otherwise one less than there are, at most 8.',
  }),
  adminApiKeys: variable('ADMIN_API_KEY', {
    parse: parseAdminApiKeys,
    shownDefault: 'generated',
    isSecret: true,
    meaning:
      'Full access to every tenant; at least 32 characters, without commas. Several, separated by commas, are all accepted ([rotation](rotation.md)). Unset: generated at the first start and kept in `DATA_DIR/admin-api-key`.',
  }),
  jwt: {
    secret: variable('JWT_SECRET', {
      parse: parseSecret,
      isSecret: true,
      meaning:
        "Verifies JWTs of tenants' front ends, signed with HS256; at least 32 characters. Without this and `JWT_JWKS_URL`, JWTs are refused. The same in every process.",
    }),
    jwksUrl: variable('JWT_JWKS_URL', {
      parse: parseJwksUrl,
      meaning:
        'In place of `JWT_SECRET`: where the public keys are (a JWK Set) that verify JWTs signed with RS256, ES256 or EdDSA; `https://…`, on loopback also `http://…`.',
    }),
  },
  secretsKeys: variable('SECRETS_KEY', {
    parse: parseSecretsKeys,
    shownDefault: 'generated',
    isSecret: true,
    meaning:
      '32 bytes in base64, encrypts signing secrets and custom headers at rest. Several, separated by commas: the first one encrypts, all of them decrypt ([rotation](rotation.md)). The same in every process. Unset: generated in `DATA_DIR/secrets-key` with the embedded Postgres, an error with `DATABASE_URL`. Losing it loses every signing secret.',
  }),
  metricsToken: variable('METRICS_TOKEN', {
    parse: parseSecret,
    isSecret: true,
    meaning:
      'Opens `GET /metrics` and nothing else; at least 32 characters. For Prometheus, so that it need not have the admin key, which opens it as well.',
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
      'Where browsers reach this server, `https://hooks.example.com/path`, if a proxy puts a path in front: the proxy removes the path, and the pages of the console put it in front of their links. Unset: no path.',
  }),
  portalOrigins: variable('PORTAL_ORIGINS', {
    parse: parseOrigins,
    fallback: () => [],
    meaning:
      'Origins whose pages may embed the [portal](portal.md) and hand it tokens, comma-separated and exact: `https://app.example.com`. Unset: none; one-time links work.',
  }),
  api: {
    corsOrigins: variable('CORS_ORIGINS', {
      parse: parseOrigins,
      fallback: () => [],
      meaning:
        'Origins whose pages may use GraphQL from a browser, comma-separated and exact: `https://console.example.com`. Unset: only pages of our own origin.',
    }),
    introspection: variable('GRAPHQL_INTROSPECTION', {
      parse: parseBoolean,
      fallback: ({ isProduction }) => !isProduction,
      meaning:
        '`true` lets clients ask for the schema, suggests names in errors, and shows GraphiQL at `GET /graphql`; `false` does none of that. Unset: `false` if `NODE_ENV` is `production`, otherwise `true`.',
    }),
    rateLimit: variable('API_RATE_LIMIT', {
      parse: countOf(100_000),
      default: '100',
      meaning:
        'How many GraphQL operations per second, 1 to 100000, each credential may begin at each process; twice as many at once after a pause. The admin key is not limited.',
    }),
  },
  egress: {
    allowCidrs: variable('EGRESS_ALLOW_CIDRS', {
      parse: parseCidrs,
      shownDefault: 'empty',
      canBeEmpty: true,
      fallback: ({ isEmbedded }) => (isEmbedded ? ['127.0.0.0/8', '::1/128'] : []),
      meaning:
        'Private ranges that targets may nevertheless use, comma-separated. With the embedded Postgres the default is `127.0.0.0/8,::1/128`; setting it, even to nothing, replaces that.',
    }),
    allowHttp: variable('EGRESS_ALLOW_HTTP', {
      parse: parseAllowHttp,
      shownDefault: '`false`',
      fallback: ({ isEmbedded }) => (isEmbedded ? 'loopback' : 'never'),
      meaning:
        '`true` allows `http://` to every permitted address; otherwise only `https://`. Unset with the embedded Postgres: `http://` to loopback is allowed.',
    }),
    denyPorts: variable('EGRESS_DENY_PORTS', {
      parse: parsePorts,
      default: DEFAULT_DENY_PORTS,
      canBeEmpty: true,
      meaning:
        'Ports that no target may use, comma-separated, with ranges such as `6000-6063`: those of other protocols. Setting it replaces the list; set to nothing, every port is allowed.',
    }),
    dnsServers: variable('EGRESS_DNS_SERVERS', {
      parse: parseDnsServers,
      shownDefault: "the machine's",
      meaning: 'Name servers that resolve targets, comma-separated `address` or `address:port`.',
    }),
    proxy: variable('EGRESS_PROXY', {
      parse: parseProxy,
      isSecret: true,
      meaning:
        'A [forward proxy](deployment.md#egress-through-a-proxy) for all webhooks: `http://user:password@proxy:3128` or `https://…` (by `CONNECT`), or `socks5://…`. The proxy gets the address that was checked.',
    }),
    proxyResolves: variable('EGRESS_PROXY_RESOLVES', {
      parse: parseBoolean,
      default: 'false',
      meaning:
        '`true` gives the names of targets to `EGRESS_PROXY`, which resolves them. The rules about addresses then hold only for targets that are written as addresses: the proxy must refuse private ones.',
    }),
    sourceAddresses: variable('EGRESS_SOURCE_ADDRESS', {
      parse: parseSourceAddresses,
      fallback: () => [],
      meaning:
        'The local address from which webhooks are sent (with `EGRESS_PROXY`: from which the proxy is reached): an IPv4 address, an IPv6 address, or one of each. Targets of the other family are unreachable.',
    }),
  },
  maxSubscriptionsPerTenant: variable('MAX_SUBSCRIPTIONS_PER_TENANT', {
    parse: countOf(10_000),
    default: '1000',
    meaning:
      'How many webhook subscriptions, 1 to 10000, a tenant may have, active or not; deleted ones do not count. Creating one more is refused (`TOO_MANY_SUBSCRIPTIONS`); those that exist go on working. The deliveries of an event are written in one transaction, some 0.1 ms each, in which events of other tenants wait.',
  }),
  retryScheduleMs: variable('RETRY_SCHEDULE', {
    parse: parseSchedule,
    default: '5s,30s,2m,10m,30m,2h,5h,10h,14h',
    meaning:
      'Waits before attempts 2, 3, … (`ms`, `s`, `m`, `h`, `d`), each with ±20 % jitter; at most 30 of them, each at most 7 days. After the last attempt the delivery has failed.',
  }),
  retention: {
    days: variable('RETENTION_DAYS', {
      parse: countOf(3_650),
      default: '30',
      meaning:
        'For how many days, 1 to 3650, events, deliveries and attempts are kept at least; they are dropped within a fifteenth of that time (in whole days) after it. Deliveries that are pending, and their events, stay until they have ended. The same in every process.',
    }),
    maxPerSubscription: variable('RETENTION_MAX_PER_SUBSCRIPTION', {
      parse: countOf(1_000_000),
      meaning:
        'How many ended deliveries, 1 to 1000000, are kept of each subscription with their attempts, the newest ones; older ones are deleted hourly. Unset: as many as there are.',
    }),
    auditLogDays: variable('AUDIT_LOG_RETENTION_DAYS', {
      parse: countOf(36_500),
      default: '365',
      meaning: 'For how many days, 1 to 36500, the audit log is kept. The same in every process.',
    }),
  },
  logLevel: variable('LOG_LEVEL', {
    parse: parseLogLevel,
    default: 'info',
    meaning: '`trace`, `debug`, `info`, `warn`, `error` or `silent`; the log is JSON lines on standard output.',
  }),
  logAttempts: variable('LOG_ATTEMPTS', {
    parse: parseLogAttempts,
    default: 'all',
    meaning:
      'Which attempts get a line `delivery.attempted` in the log: `all`, `failures` (attempts that failed) or `none`. The delivery log has all of them in any case.',
  }),
  alerts: {
    url: variable('ALERT_WEBHOOK_URL', {
      parse: parseHttpUrl,
      isSecret: true,
      meaning:
        'A webhook of yours that gets [alerts](alerts.md): open circuits, deactivated subscriptions, overdue deliveries, rejected events, full streams and disks. Any `http://` or `https://` address except those of metadata services. The same in every process.',
    }),
    secret: variable('ALERT_WEBHOOK_SECRET', {
      parse: parseSigningSecret,
      isSecret: true,
      meaning: 'Signs alerts as Standard Webhooks: `whsec_…`. Unset: they are not signed.',
    }),
    format: variable('ALERT_WEBHOOK_FORMAT', {
      parse: parseAlertFormat,
      default: 'standard',
      meaning: '`standard`, or `slack` for an incoming webhook of Slack or Mattermost.',
    }),
  },
  tracing: {
    endpoint: variable('OTEL_EXPORTER_OTLP_ENDPOINT', {
      parse: parseHttpUrl,
      meaning:
        'Exports [traces](tracing.md) to this OpenTelemetry collector over HTTP, such as `http://collector:4318`. Unset: no traces, unless one of the next two variables turns them on.',
    }),
    tracesEndpoint: variable('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', {
      parse: parseHttpUrl,
      meaning: 'The whole URL for traces, in place of `OTEL_EXPORTER_OTLP_ENDPOINT` and `/v1/traces`.',
    }),
    exporter: variable('OTEL_TRACES_EXPORTER', {
      parse: parseTracesExporter,
      meaning: '`otlp` turns traces on, to `http://localhost:4318` without an endpoint; `none` turns them off.',
    }),
    isDisabled: variable('OTEL_SDK_DISABLED', {
      parse: parseBoolean,
      default: 'false',
      meaning: '`true` turns traces off.',
    }),
    headers: variable('OTEL_EXPORTER_OTLP_HEADERS', {
      parse: parsePairs,
      isSecret: true,
      fallback: () => ({}),
      meaning: 'Headers for the collector, such as its credentials: `name=value,name=value`, percent-encoded.',
    }),
    protocol: variable('OTEL_EXPORTER_OTLP_PROTOCOL', {
      parse: parseOtlpProtocol,
      default: 'http/protobuf',
      meaning: '`http/protobuf` or `http/json`.',
    }),
    serviceName: variable('OTEL_SERVICE_NAME', {
      parse: parseText,
      default: 'webhooks-engine',
      meaning: 'The name of the service in traces.',
    }),
    resourceAttributes: variable('OTEL_RESOURCE_ATTRIBUTES', {
      parse: parsePairs,
      fallback: () => ({}),
      meaning: 'Further attributes of the service in traces: `deployment.environment.name=production,…`.',
    }),
    sampler: variable('OTEL_TRACES_SAMPLER', {
      parse: parseSampler,
      default: 'parentbased_always_on',
      meaning:
        'Which traces are recorded: `parentbased_always_on`, `parentbased_always_off`, `parentbased_traceidratio`, `always_on`, `always_off` or `traceidratio`. Those with `parentbased` follow the decision of the publisher, if there is one.',
    }),
    samplerRatio: variable('OTEL_TRACES_SAMPLER_ARG', {
      parse: parseRatio,
      default: '1',
      meaning: 'The part of the traces, from 0 to 1, that the samplers with `traceidratio` record.',
    }),
  },
  sendsTraceParent: variable('SEND_TRACEPARENT', {
    parse: parseBoolean,
    default: 'true',
    meaning:
      'Whether webhooks carry the header `traceparent` while traces are on, so that receivers can continue them.',
  }),
};

/** The table as a list, in its order. */
export const VARIABLES = listVariables(TABLE);
