import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nkeys } from 'nats';
import { pino } from 'pino';
import { beforeEach, expect, it } from 'vitest';
import { readConfig } from '../../src/config/config.ts';
import { NatsClient } from '../../src/nats/connection.ts';
import { createCleanUps } from '../support/clean-ups.ts';
import { startNatsServer } from '../support/nats.ts';
import { findOwnPort } from '../support/own-port.ts';
import { createCertificate } from '../support/self-signed-certificate.ts';
import { createTempFolder } from '../support/temp-folder.ts';
import { TEST_SEAL } from '../support/test-app.ts';
import { waitFor } from '../support/wait-for.ts';

type Key = { getPublicKey(): string; getSeed(): Uint8Array; sign(bytes: Uint8Array): Uint8Array };
/** `as`: the package exports it as any. */
const { createOperator, createAccount, createUser } = nkeys as Record<
  'createOperator' | 'createAccount' | 'createUser',
  () => Key
>;

const cleanUps = createCleanUps();
let folder: string;

beforeEach(async () => {
  const temp = await createTempFolder();
  folder = temp.path;
  cleanUps.push(() => temp.remove());
});

async function write(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

/** Writes a certificate for one host and its key to files. */
async function writeCertificate(name: string, host: string): Promise<{ readonly cert: string; readonly key: string }> {
  const dayMs = 86_400_000;
  const validity = { notBefore: new Date(Date.now() - dayMs), notAfter: new Date(Date.now() + dayMs) };
  const { cert, key } = createCertificate({ hosts: [host], ...validity });
  return { cert: await write(`${name}.pem`, cert), key: await write(`${name}.key`, key) };
}

async function startServer(configuration: string): Promise<string> {
  const port = await findOwnPort();
  const common = `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}" }\n`;
  const server = await startNatsServer(port, ['-c', await write('nats.conf', common + configuration)]);
  cleanUps.push(() => server.stop());
  return `127.0.0.1:${port}`;
}

/** Starts a client that is configured with variables, like the program. */
function startBus(env: Readonly<Record<string, string>>): { natsClient: NatsClient; logged: () => string } {
  const { natsServers = [], nats } = readConfig(env);
  const lines: string[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const natsClient = new NatsClient({ servers: natsServers, loginFiles: nats.login, seal: TEST_SEAL, log });
  natsClient.start();
  cleanUps.push(() => natsClient.stop());
  return { natsClient, logged: () => lines.join('') };
}

it('a server of a private authority gets the client certificate, and is not trusted without its CA', async () => {
  const server = await writeCertificate('server', 'localhost');
  const client = await writeCertificate('client', 'engine');
  const stranger = await writeCertificate('stranger', 'engine');
  const host = await startServer(
    `tls { cert_file: "${server.cert}", key_file: "${server.key}", ca_file: "${client.cert}", verify: true }\n`,
  );
  const NATS_URL = `tls://${host.replace('127.0.0.1', 'localhost')}`;
  const ca = { NATS_URL, NATS_CA_FILE: server.cert };
  const { natsClient } = startBus({ ...ca, NATS_CERT_FILE: client.cert, NATS_KEY_FILE: client.key });
  await waitFor(() => natsClient.connected, { what: 'the connection' });
  const refused: [Record<string, string>, RegExp][] = [
    [{ NATS_URL, NATS_CERT_FILE: client.cert, NATS_KEY_FILE: client.key }, /self-signed certificate/],
    [ca, /certificate/],
    [{ ...ca, NATS_CERT_FILE: stranger.cert, NATS_KEY_FILE: stranger.key }, /certificate|unknown ca/i],
  ];
  for (const [env, reason] of refused) {
    const { natsClient: other, logged } = startBus(env);
    await waitFor(() => logged().includes('NATS is unavailable'), { what: 'the refusal' });
    expect(other.problems.join()).toMatch(reason);
    expect(other.connected).toBe(false);
  }
});

it.each([
  { certified: '127.0.0.1', outcome: 'connected' },
  { certified: '127.0.0.2', outcome: 'IP: 127.0.0.1 is not in the cert' },
  { certified: 'localhost', outcome: 'IP: 127.0.0.1 is not in the cert' },
])('a server at 127.0.0.1 with a certificate for $certified: $outcome', async ({ certified, outcome }) => {
  const { cert, key } = await writeCertificate('server', certified);
  const host = await startServer(`tls { cert_file: "${cert}", key_file: "${key}" }\n`);
  const { natsClient } = startBus({ NATS_URL: `tls://${host}`, NATS_CA_FILE: cert });
  const state = () => (natsClient.connected ? 'connected' : natsClient.problems.join());
  await waitFor(() => /^connected$|certificate/.test(state()), { what: 'the server to be trusted or refused' });
  expect(state()).toContain(outcome);
});

/** Returns a JWT of NATS: signed with Ed25519 by the key of the account or operator. */
function token(issuer: Key, subject: string, claims: Record<string, unknown>): string {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const iat = Math.floor(Date.now() / 1_000) - 60;
  const body = {
    jti: 'test',
    iat,
    iss: issuer.getPublicKey(),
    sub: subject,
    name: 'test',
    nats: { version: 2, ...claims },
  };
  const signed = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode(body)}`;
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url')}`;
}

it('a credentials file is used to log in, and its replacement at the next connection', async () => {
  const [operator, account, system] = [createOperator(), createAccount(), createAccount()];
  const unlimited = { subs: -1, conn: -1, leaf: -1, imports: -1, exports: -1, data: -1, payload: -1, wildcards: true };
  const jetStream = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const accountToken = (key: Key, limits: object) =>
    token(operator, key.getPublicKey(), { type: 'account', limits: { ...unlimited, ...limits } });
  const host = await startServer(`
    operator: ${token(operator, operator.getPublicKey(), { type: 'operator' })}
    system_account: ${system.getPublicKey()}
    resolver: MEMORY
    resolver_preload: {
      ${account.getPublicKey()}: ${accountToken(account, jetStream)}
      ${system.getPublicKey()}: ${accountToken(system, {})}
    }
  `);
  const credentials = (issuer: Key) => {
    const user = createUser();
    const jwt = token(issuer, user.getPublicKey(), { type: 'user', pub: {}, sub: {}, subs: -1, data: -1, payload: -1 });
    const block = (name: string, text: string) => `-----BEGIN ${name}-----\n${text}\n------END ${name}------\n\n`;
    const seed = new TextDecoder().decode(user.getSeed());
    return block('NATS USER JWT', jwt) + block('USER NKEY SEED', seed);
  };
  const NATS_CREDS = await write('engine.creds', credentials(createAccount()));
  const { natsClient, logged } = startBus({ NATS_URL: `nats://${host}`, NATS_CREDS });
  await waitFor(() => logged().includes('NATS is unavailable'), { what: 'the refusal' });
  expect(natsClient.problems.join()).toContain('refuses the user, password, token, credentials');
  await write('engine.creds', credentials(account));
  await waitFor(() => natsClient.connected, { what: 'the connection' });
});
