import { constants, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import process from 'node:process';
import { type Config, ConfigError, readConfig } from '../config/config.ts';
import { dial, type EgressRoute } from '../delivery/http/dial.ts';
import {
  checkTargetUrl,
  isAllowedAddress,
  isLocalhostName,
  LOCALHOST_ADDRESSES,
} from '../delivery/http/egress-policy.ts';
import { Resolver } from '../delivery/http/resolver.ts';
import { checkAccess } from '../embedded/data-directory.ts';
import { VERSION } from '../lib/version.ts';
import { natsNames } from '../nats/names.ts';
import { probeNats } from '../nats/probe.ts';
import { withCheckedServer } from '../postgres/check-server.ts';
import { databaseUrls, readClock, withConnection } from '../postgres/connection.ts';
import { resealSecrets } from '../subscriptions/reseal.ts';
import { createSecretBox } from '../subscriptions/secrets.ts';
import { countOf, type Output } from './output.ts';
import type { Run } from './run.ts';

/** The result of one check. `text` is the observation and, for a problem, the remedy. */
export type Finding = {
  readonly subject: string;
  readonly result: 'ok' | 'warning' | 'failed';
  readonly text: string;
};

const MAX_CLOCK_DIFFERENCE_MS = 2_000;
const CONNECT_MS = 5_000;
const MIN_OPEN_FILES = 1_024;

export const runDoctor: Run<'doctor'> = async ({ out, env }, { values }) => {
  const findings = await examine(env, values.target);
  printFindings(out, findings);
  const failed = findings.filter(({ result }) => result === 'failed').length;
  const warnings = findings.filter(({ result }) => result === 'warning').length;
  out.note(failed + warnings === 0 ? 'Everything is in order.' : `${failed} failed, ${countOf(warnings, 'warning')}.`);
  return failed === 0 ? 0 : 1;
};

function printFindings(out: Output, findings: readonly Finding[]): void {
  out.rows(findings.map(({ subject, result, text }) => ({ result, subject, text })));
}

/** Runs every check that the configuration allows. Expected failures are returned as findings. Changes nothing. */
export async function examine(env: NodeJS.ProcessEnv, target?: string): Promise<Finding[]> {
  const program: Finding = {
    subject: 'program',
    result: 'ok',
    text: `webhooks-engine ${VERSION}, Node.js ${process.version}`,
  };
  const config = readChecked(env);
  if (Array.isArray(config)) return [program, ...config];
  const findings = await Promise.all([
    examineDatabase(config),
    examineNats(config),
    ...(target === undefined ? [] : [examineTarget(config, target)]),
  ]);
  return [program, { subject: 'configuration', result: 'ok', text: 'valid' }, ...examineFiles(), ...findings.flat()];
}

function readChecked(env: NodeJS.ProcessEnv): Config | Finding[] {
  try {
    return readConfig(env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((text) => ({ subject: 'configuration', result: 'failed', text }));
  }
}

/** The report shows the effective limit: Node.js raises the soft limit to the hard limit at its start. */
function examineFiles(): Finding[] {
  const report: { userLimits?: { open_files?: { soft?: number | string } } } = process.report.getReport();
  const limit = Number(report.userLimits?.open_files?.soft ?? Number.NaN);
  if (Number.isNaN(limit) || limit >= MIN_OPEN_FILES) return [];
  const text = `${limit} files may be open; raise the limit (ulimit -n) to ${MIN_OPEN_FILES} or more`;
  return [{ subject: 'open files', result: 'failed', text }];
}

async function examineDatabase(config: Config): Promise<Finding[]> {
  if (config.databaseUrl === undefined) return [await examineDataDir(config.dataDir)];
  const urls = databaseUrls(config.databaseUrl, config.databaseDirectUrl);
  const usable = await attempt('Postgres', () =>
    withCheckedServer(urls, async (client) => {
      const { rows } = await client.query<{ version: string }>(`SELECT current_setting('server_version') AS version`);
      return { result: 'ok', text: `${rows[0]?.version ?? ''}, schema and privileges are in order` };
    }),
  );
  if (usable.result === 'failed') return [usable];
  const others = await Promise.all([
    attempt('clock', () => compareClocks(urls.directUrl)),
    attempt('SECRETS_KEY', () => openSecrets(config, urls.directUrl)),
  ]);
  return [usable, ...others];
}

/** Opens every stored value that the first key did not seal. */
async function openSecrets({ secretsKeys }: Config, url: string): Promise<Omit<Finding, 'subject'>> {
  // A configuration with DATABASE_URL and without SECRETS_KEY is not valid.
  if (secretsKeys === undefined) throw new Error('SECRETS_KEY is not set');
  const secretBox = createSecretBox(...secretsKeys);
  return withConnection(url, async (db) => {
    const { rows } = await db.query<{ isMigrated: boolean }>(
      `SELECT to_regclass('signing_secrets') IS NOT NULL AS "isMigrated"`,
    );
    if (rows[0]?.isMigrated !== true) return { result: 'ok', text: 'the database stores no secrets yet' };
    const { unreadable, remaining } = await resealSecrets({ db, secretBox }, { isDryRun: true });
    if (unreadable > 0) {
      const text = `cannot open ${countOf(unreadable, 'stored value')} (signing secrets and headers): set it to the key that sealed them, or add that key`;
      return { result: 'failed', text };
    }
    const text =
      remaining === 0 ? '' : `; the older keys are needed for ${remaining} of them until webhooks-engine reseal`;
    return { result: 'ok', text: `opens the stored secrets and headers${text}` };
  });
}

async function examineDataDir(dataDir: string): Promise<Finding> {
  return attempt('DATA_DIR', async () => {
    const text = 'DATABASE_URL is not set, so the start runs an embedded Postgres there';
    const existing = nearestExisting(resolve(dataDir));
    if (existing === resolve(dataDir)) await checkAccess(dataDir);
    else await access(existing, constants.W_OK | constants.X_OK);
    return { result: 'ok', text: `${dataDir}; ${text}` };
  });
}

/** The path, or its nearest existing ancestor, in which `start` creates the missing folders. */
function nearestExisting(path: string): string {
  return existsSync(path) ? path : nearestExisting(dirname(path));
}

async function compareClocks(url: string): Promise<Omit<Finding, 'subject'>> {
  const difference = await withConnection(url, async (client) => {
    const began = Date.now();
    const theirs = await readClock(client);
    return Math.round((began + Date.now()) / 2 - theirs);
  });
  if (Math.abs(difference) <= MAX_CLOCK_DIFFERENCE_MS)
    return { result: 'ok', text: `${difference} ms from Postgres's` };
  return { result: 'warning', text: `${difference} ms from Postgres's: run NTP on both machines` };
}

async function examineNats({ natsServers, nats }: Config): Promise<Finding[]> {
  if (natsServers === undefined) {
    return [{ subject: 'NATS', result: 'ok', text: 'NATS_URL is not set, so the start runs an embedded nats-server' }];
  }
  return probeNats({ servers: natsServers, files: nats.login, names: natsNames(nats.prefix) });
}

/** Checks a webhook's target as a sender does, and opens a TCP connection to it. */
async function examineTarget({ egress }: Config, target: string): Promise<Finding[]> {
  const resolver = new Resolver(egress.dnsServers);
  try {
    return [
      await attempt('target', async () => {
        const url = checkTargetUrl(target, egress);
        const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
        const isResolved = isIP(host) !== 0 || egress.proxyResolves;
        const addresses = isResolved ? [host] : await addressesOf(resolver, { host, egress });
        const blocked = addresses.filter((address) => isIP(address) !== 0 && !isAllowedAddress(address, egress));
        if (blocked.length > 0) {
          const text = `${host} has the address ${blocked.join(', ')}, which is not allowed; see EGRESS_ALLOW_CIDRS`;
          return { result: 'failed', text };
        }
        const port = Number(url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : url.port);
        await openConnection(egress, { hosts: addresses, port });
        return { result: 'ok', text: `${host} (${addresses.join(', ')}) accepts connections on port ${port}` };
      }),
    ];
  } finally {
    resolver.close();
  }
}

/** Localhost has only those of its addresses that are allowed, as for a sender. */
async function addressesOf(
  resolver: Resolver,
  { host, egress }: { readonly host: string; readonly egress: Config['egress'] },
): Promise<readonly string[]> {
  if (!isLocalhostName(host)) return resolver.resolve(host);
  const allowed = LOCALHOST_ADDRESSES.filter((address) => isAllowedAddress(address, egress));
  return allowed.length > 0 ? allowed : LOCALHOST_ADDRESSES;
}

/** Connects as a sender does: through the configured proxy and from the configured source address. */
async function openConnection(
  route: EgressRoute,
  { hosts, port }: { readonly hosts: readonly string[]; readonly port: number },
): Promise<void> {
  const signal = AbortSignal.timeout(CONNECT_MS);
  const { socket } = await dial(route, { hosts, port, signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
    throw new Error(`no connection to port ${port} within ${CONNECT_MS / 1_000} s: check the firewall for egress`);
  });
  socket.destroy();
}

async function attempt(subject: string, check: () => Promise<Omit<Finding, 'subject'>>): Promise<Finding> {
  try {
    return { subject, ...(await check()) };
  } catch (error) {
    const text = error instanceof Error ? error.message || error.name : String(error);
    return { subject, result: 'failed', text };
  }
}
