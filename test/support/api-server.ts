import { SignJWT } from 'jose';
import { Registry } from 'prom-client';
import { createHttpServer, createRollCall } from '../../src/app.ts';
import type { Config } from '../../src/config/config.ts';
import { NotificationListener } from '../../src/postgres/listener.ts';
import { readinessChecks } from '../../src/server/health.ts';
import type { HttpServer } from '../../src/server/http.ts';
import { ADMIN_KEY, type Api, SETTINGS } from './graphql-api.ts';

export type ApiServer = { readonly url: string; stop(): Promise<void> };

const JWT_SECRET = 'a secret of thirty-two characters';

type ApiServerOptions = Partial<Config['api']> & {
  readonly port?: number;
  readonly roles?: Config['roles'];
  readonly idleTimeoutMs?: number;
  readonly maxBuffered?: number;
};

/** Starts an HTTP server for `api` on the given port, or on a free one. */
export function createApiServer(
  { database, databaseUrl, natsClient, deliveries, feed, schemaThread, secretBox, log }: Api,
  { port = 0, roles = new Set(['api'] as const), idleTimeoutMs, maxBuffered, ...settings }: ApiServerOptions = {},
): HttpServer {
  const egress = { allowCidrs: [], allowHttp: 'never' as const, denyPorts: new Set<number>(), dnsServers: undefined };
  const config = {
    host: '127.0.0.1',
    port,
    roles,
    metricsToken: undefined,
    isConsoleEnabled: false,
    publicUrl: undefined,
    portalOrigins: [],
    egress,
    maxSubscriptionsPerTenant: 1_000,
    retention: { days: 30, maxPerSubscription: undefined, auditLogDays: 365 },
    retryScheduleMs: [5_000],
    jwt: { secret: JWT_SECRET },
    api: { ...SETTINGS, ...settings },
  };
  const databaseUrls = { url: databaseUrl, directUrl: databaseUrl };
  const services = {
    databaseUrls,
    database,
    notifications: new NotificationListener({ url: databaseUrl, log }),
    nats: natsClient,
    deliveries,
    feed,
    schemaThread,
    secretBox,
    log,
    metrics: new Registry(),
  };
  const checks = readinessChecks({ ...services, startProblems: () => [] });
  return createHttpServer(config, services, {
    adminApiKeys: [ADMIN_KEY],
    checks,
    rollCall: createRollCall(config, services, { checks, shownRoles: roles }),
    maxBuffered,
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
  });
}

export async function startApiServer(api: Api, options?: ApiServerOptions): Promise<ApiServer> {
  const server = createApiServer(api, options);
  return { url: await server.start(), stop: () => server.stop() };
}

/** Credentials of a tenant for all of these servers; the same on each call with the same tenant. */
export function tokenOf(tenant: string, scope: 'TENANT_READ' | 'TENANT_WRITE' = 'TENANT_READ'): Promise<string> {
  return new SignJWT({ tenant, scope, sub: tenant })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1 hour')
    .sign(new TextEncoder().encode(JWT_SECRET));
}
