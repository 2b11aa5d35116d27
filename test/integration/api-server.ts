import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Config } from '../../src/config.ts';
import { LiveLog } from '../../src/events/live-log.ts';
import type { Authenticate } from '../../src/server/auth.ts';
import { createGraphql } from '../../src/server/graphql.ts';
import { HttpServer } from '../../src/server/http-server.ts';
import { LiveSockets } from '../../src/server/live-sockets.ts';
import { createRateLimit } from '../../src/server/rate-limit.ts';
import { ADMIN_KEY, type Api, SETTINGS } from './graphql-api.ts';

export type ApiServer = { readonly url: string; stop(): Promise<void> };

/** What is behind `api`, listening on a free port. */
export async function startApiServer(
  { database, bus, secretBox, log }: Api,
  settings: Partial<Config['api']> = {},
): Promise<ApiServer> {
  const egress = { allowCidrs: [], allowHttp: 'never' as const, denyPorts: new Set<number>(), dnsServers: undefined };
  const server = new HttpServer({
    ...{ database, bus, secretBox, log, adminApiKey: ADMIN_KEY, hasStarted: () => true },
    config: { host: '127.0.0.1', port: 0, roles: new Set(['api'] as const), egress, api: { ...SETTINGS, ...settings } },
  });
  return { url: await server.start(), stop: () => server.stop() };
}

/** The same for tenants: `Bearer <tenant>` is one's credential. */
export async function startTenantServer(api: Api, settings: Partial<Config['api']> = {}): Promise<ApiServer> {
  const { database, bus, secretBox, log } = api;
  const authenticate: Authenticate = (authorization) => {
    const tenant = authorization?.replace('Bearer ', '');
    return Promise.resolve(tenant === undefined ? undefined : { kind: 'tenant', tenant, scope: 'read' });
  };
  const all = { ...SETTINGS, ...settings };
  const shared = { authenticate, log, takeOperation: createRateLimit(all.rateLimit) };
  const egressPolicy = { allowCidrs: [], allowHttp: 'never' as const, denyPorts: new Set<number>() };
  const services = { database, bus, secretBox, log, egressPolicy, liveLog: new LiveLog({ bus, database, log }) };
  const stopping = new AbortController();
  const graphql = createGraphql({ ...shared, services, settings: all, stopping: stopping.signal });
  const sockets = new LiveSockets({ ...shared, graphql });
  const server = createServer((request, response) => void graphql(request, response));
  server.on('upgrade', (request, socket, head) => {
    sockets.upgrade(request, socket, head);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on TCP');
  const stop = async () => {
    stopping.abort();
    await sockets.stop();
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${address.port}`, stop };
}
