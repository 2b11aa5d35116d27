import type { Config } from '../../src/config.ts';
import { HttpServer } from '../../src/server/http-server.ts';
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
