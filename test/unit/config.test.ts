import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../src/config/config.ts';
import { VARIABLES } from '../../src/config/variables.ts';
import { isTracingOn } from '../../src/tracing/settings.ts';
import { createTempFolder, type TempFolder } from '../support/temp-folder.ts';

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

const SECRETS_KEY = Buffer.alloc(32, 7).toString('base64');
/** A readable file that is not PEM. */
const FILE = '/dev/null';
const EXTERNAL = { DATABASE_URL: 'postgres://u:p@db/webhooks', SECRETS_KEY };

let folder: TempFolder;
beforeAll(async () => {
  folder = await createTempFolder();
});
afterAll(() => folder.remove());

function secretFile(content: string): string {
  const path = join(folder.path, randomUUID());
  writeFileSync(path, content);
  return path;
}

describe('the configuration', () => {
  it('has a default for everything', () => {
    expect(readConfig({})).toMatchObject({
      host: '127.0.0.1',
      port: 4000,
      databaseUrl: undefined,
      natsServers: undefined,
      dataDir: '.data',
      roles: new Set(['api', 'dispatcher', 'sender']),
      egress: { allowCidrs: ['127.0.0.0/8', '::1/128'], allowHttp: 'loopback' },
      retryScheduleMs: [5e3, 30e3, 120e3, 600e3, 1800e3, 7200e3, 18_000e3, 36_000e3, 50_400e3],
      retention: { days: 30, maxPerSubscription: undefined },
      api: { corsOrigins: [], introspection: true, rateLimit: 100 },
    });
  });

  it.each([
    [{}, true],
    [{ NODE_ENV: 'development' }, true],
    [{ NODE_ENV: 'production' }, false],
    [{ NODE_ENV: 'production', GRAPHQL_INTROSPECTION: 'true' }, true],
    [{ GRAPHQL_INTROSPECTION: 'false' }, false],
  ])('with %j, introspection is %j', (env, introspection) => {
    expect(readConfig(env).api.introspection).toBe(introspection);
  });

  it.each([
    '*',
    'null',
    'console.example.com',
    'https://a.example/',
    'https://A.example',
    'https://a.example:443',
    'ws://a',
  ])('rejects %j in CORS_ORIGINS, because no browser sends this origin', (origin) => {
    expect(problemsOf({ CORS_ORIGINS: `https://good.example,${origin}` })).toEqual([
      expect.stringContaining(`CORS_ORIGINS has "${origin}"`),
    ]);
  });

  it('reads CORS_ORIGINS as a list', () => {
    const CORS_ORIGINS = 'https://a.example, http://localhost:5173,';
    expect(readConfig({ CORS_ORIGINS }).api.corsOrigins).toEqual(['https://a.example', 'http://localhost:5173']);
  });

  it('with a DATABASE_URL, allows only public targets over https by default', () => {
    expect(readConfig(EXTERNAL).egress).toMatchObject({ allowCidrs: [], allowHttp: 'never' });
  });

  it.each([
    ['http://proxy', { protocol: 'http', host: 'proxy', port: 80, username: '', password: '' }],
    ['https://[2001:db8::1]', { protocol: 'https', host: '2001:db8::1', port: 443, username: '', password: '' }],
    [
      'socks5://u:p%40ss@10.0.0.1',
      { protocol: 'socks5', host: '10.0.0.1', port: 1080, username: 'u', password: 'p@ss' },
    ],
    ['http://u:p@proxy:3128/', { protocol: 'http', host: 'proxy', port: 3128, username: 'u', password: 'p' }],
  ])('reads EGRESS_PROXY %s', (EGRESS_PROXY, proxy) => {
    expect(readConfig({ EGRESS_PROXY }).egress.proxy).toEqual(proxy);
  });

  it.each(['ftp://u:secret@proxy', 'proxy:3128', 'http://u:secret@proxy/path', 'http://u:secret%@proxy', 'socks5://'])(
    'rejects EGRESS_PROXY %s without repeating it',
    (EGRESS_PROXY) => {
      const [problem, ...others] = problemsOf({ EGRESS_PROXY });
      expect(problem).toMatch(/^EGRESS_PROXY (must|has)/);
      expect(`${problem}${others.join('')}`).not.toContain('secret');
    },
  );

  it('accepts EGRESS_PROXY_RESOLVES only together with EGRESS_PROXY', () => {
    expect(problemsOf({ EGRESS_PROXY_RESOLVES: 'true' })).toEqual([
      'EGRESS_PROXY_RESOLVES is set without EGRESS_PROXY',
    ]);
  });

  it.each(['localhost', '10.0.0.1,10.0.0.2', '::1,::2', '10.0.0.1/32'])(
    'rejects EGRESS_SOURCE_ADDRESS %s',
    (EGRESS_SOURCE_ADDRESS) => {
      expect(problemsOf({ EGRESS_SOURCE_ADDRESS })).toEqual([
        'EGRESS_SOURCE_ADDRESS must be an IPv4 address, an IPv6 address, or one of each, separated by a comma',
      ]);
    },
  );

  it.each([
    [{}, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces' }, true],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, true],
    [{ OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, false],
    [{ OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, false],
  ])('with %j, traces are on: %j', (env, isOn) => {
    expect(isTracingOn(readConfig(env).tracing)).toBe(isOn);
  });

  it('reports invalid variables of OpenTelemetry', () => {
    const problems = problemsOf({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_HEADERS: 'api-key=secret%',
      OTEL_TRACES_SAMPLER: 'jaeger_remote',
      OTEL_TRACES_SAMPLER_ARG: '50',
    });
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual([
      'OTEL_EXPORTER_OTLP_ENDPOINT',
      'OTEL_EXPORTER_OTLP_HEADERS',
      'OTEL_EXPORTER_OTLP_PROTOCOL',
      'OTEL_TRACES_SAMPLER',
      'OTEL_TRACES_SAMPLER_ARG',
    ]);
    expect(problems.join()).not.toContain('secret');
  });

  it('reads an empty EGRESS_ALLOW_CIDRS as no ranges, not as the default', () => {
    expect(readConfig({ EGRESS_ALLOW_CIDRS: '' }).egress.allowCidrs).toEqual([]);
  });

  it('by default, denies the ports of other protocols, and no ephemeral port', () => {
    const { denyPorts } = readConfig({}).egress;
    const OTHERS = [22, 23, 25, 53, 110, 143, 389, 445, 465, 587, 993, 995, 1433, 2375, 3306, 5432, 6000, 6063, 6379];
    for (const port of [1, ...OTHERS, 9200, 11211, 27017]) expect(denyPorts.has(port), String(port)).toBe(true);
    for (const port of [80, 443, 3000, 5000, 8000, 8080, 8443, 9000]) expect(denyPorts.has(port)).toBe(false);
    expect(Math.max(...denyPorts)).toBeLessThan(32_768);
    expect(readConfig(EXTERNAL).egress.denyPorts).toEqual(denyPorts);
  });

  it.each([
    ['25', [25]],
    [' 25 , 80-82,,81 ', [25, 80, 81, 82]],
    ['1,65535', [1, 65_535]],
    ['7-7', [7]],
    ['', []],
    [' ', []],
  ])('reads EGRESS_DENY_PORTS %j as %j, in place of the default', (EGRESS_DENY_PORTS, ports) => {
    expect([...readConfig({ EGRESS_DENY_PORTS }).egress.denyPorts]).toEqual(ports);
  });

  it.each(['0', '65536', '-1', '5-', '9-5', '0-5', '1-65536', '1-2-3', 'smtp', '2 5', '1e3', '99999999999'])(
    'rejects the port %j',
    (port) => {
      const problems = problemsOf({ EGRESS_DENY_PORTS: `25,${port},x` });
      expect(problems).toEqual([
        `EGRESS_DENY_PORTS has ${JSON.stringify(port)}, "x", not a port or range such as 6000-6063`,
      ]);
    },
  );

  it('reports all problems together, and repeats no secret', () => {
    const problems = problemsOf({
      PORT: '70000',
      DATABASE_URL: 'mysql://user:hunter2@db',
      NATS_URL: 'nats://a:4222,http://b',
      ROLES: 'api,cook',
      ADMIN_API_KEY: 'short-hunter2',
      METRICS_TOKEN: 'short-hunter2',
      SECRETS_KEY: 'hunter2',
      EGRESS_ALLOW_CIDRS: '10.0.0.0/8,10.0.0.0/33',
      EGRESS_ALLOW_HTTP: 'maybe',
      EGRESS_DENY_PORTS: '70000',
      EGRESS_DNS_SERVERS: 'dns.example',
      RETENTION_DAYS: '0',
      RETENTION_MAX_PER_SUBSCRIPTION: '1.5',
      RETRY_SCHEDULE: '5s,8d',
      LOG_LEVEL: 'loud',
    });
    expect(problems.map((problem) => problem.split(' ')[0]).toSorted()).toEqual([
      'ADMIN_API_KEY',
      'DATABASE_URL',
      'EGRESS_ALLOW_CIDRS',
      'EGRESS_ALLOW_HTTP',
      'EGRESS_DENY_PORTS',
      'EGRESS_DNS_SERVERS',
      'LOG_LEVEL',
      'METRICS_TOKEN',
      'NATS_URL',
      'PORT',
      'RETENTION_DAYS',
      'RETENTION_MAX_PER_SUBSCRIPTION',
      'RETRY_SCHEDULE',
      'ROLES',
      'SECRETS_KEY',
    ]);
    expect(problems.join()).not.toContain('hunter2');
  });

  it.each([
    [{}, undefined],
    [{ JWT_SECRET: 's'.repeat(32) }, { secret: 's'.repeat(32) }],
    [{ JWT_JWKS_URL: 'https://id.example.com/keys' }, { jwksUrl: 'https://id.example.com/keys' }],
    [{ JWT_JWKS_URL: 'http://127.0.0.1:81/keys' }, { jwksUrl: 'http://127.0.0.1:81/keys' }],
    [{ JWT_JWKS_URL: 'http://[::1]/keys', JWT_SECRET: '' }, { jwksUrl: 'http://[::1]/keys' }],
  ])('with %j, JWTs are verified by %j', (env, jwt) => {
    expect(readConfig(env).jwt).toEqual(jwt);
  });

  it.each([
    [{ JWT_SECRET: 'hunter2'.repeat(4) }, 'JWT_SECRET must have at least 32 characters, not 28'],
    [
      { JWT_JWKS_URL: 'http://id.example.com/keys' },
      'JWT_JWKS_URL must start with https://; http:// is allowed only for localhost and loopback addresses',
    ],
    [
      { JWT_JWKS_URL: 'http://127.0.0.1.example.com/keys' },
      'JWT_JWKS_URL must start with https://; http:// is allowed only for localhost and loopback addresses',
    ],
    [{ JWT_JWKS_URL: 'file:///keys' }, 'JWT_JWKS_URL must be a URL that starts with https:// or http://'],
    [
      { JWT_SECRET: 'hunter2'.repeat(5), JWT_JWKS_URL: 'https://id.example.com/keys' },
      'JWT_SECRET and JWT_JWKS_URL are both set: set one of them',
    ],
  ])('rejects %j', (env, problem) => {
    expect(problemsOf(env)).toEqual([problem]);
  });

  it('reads a secret from the file that <NAME>_FILE names, without the newline at its end', () => {
    const files = {
      DATABASE_URL_FILE: secretFile(`${EXTERNAL.DATABASE_URL}\n`),
      SECRETS_KEY_FILE: secretFile(`${SECRETS_KEY}\r\n`),
      ADMIN_API_KEY_FILE: secretFile('a'.repeat(32)),
      JWT_SECRET: '',
      JWT_SECRET_FILE: secretFile('j'.repeat(32)),
    };
    expect(readConfig(files)).toMatchObject({
      databaseUrl: EXTERNAL.DATABASE_URL,
      secretsKeys: [SECRETS_KEY],
      adminApiKeys: ['a'.repeat(32)],
      jwt: { secret: 'j'.repeat(32) },
      egress: { allowHttp: 'never' },
    });
  });

  it('accepts a file for every secret; an error names the variable and the path, never the content', () => {
    const secrets = VARIABLES.filter(({ isSecret }) => isSecret).map(({ name }) => name);
    for (const name of secrets) {
      expect(problemsOf({ ...EXTERNAL, [name]: '', [`${name}_FILE`]: '/not/there' })).toContain(
        `${name} cannot be read from the file "/not/there" (ENOENT)`,
      );
    }
    const empty = secretFile('\n');
    expect(
      problemsOf({
        METRICS_TOKEN_FILE: secretFile('hunter2'),
        ADMIN_API_KEY_FILE: empty,
        JWT_SECRET: 'hunter2'.repeat(5),
        JWT_SECRET_FILE: empty,
      }).toSorted(),
    ).toEqual([
      `ADMIN_API_KEY cannot be read from the file ${JSON.stringify(empty)}, which is empty`,
      'JWT_SECRET and JWT_SECRET_FILE are both set: set one of them',
      'METRICS_TOKEN must have at least 32 characters, not 7',
    ]);
  });

  it('accepts several values of SECRETS_KEY and ADMIN_API_KEY, and repeats no invalid value', () => {
    const [other, admin] = [Buffer.alloc(32, 8).toString('base64'), 'b'.repeat(32)];
    const env = { ...EXTERNAL, SECRETS_KEY: `${SECRETS_KEY}, ${other},`, ADMIN_API_KEY: `${'a'.repeat(32)},${admin}` };
    expect(readConfig(env)).toMatchObject({ secretsKeys: [SECRETS_KEY, other], adminApiKeys: ['a'.repeat(32), admin] });
    const wrong = { ...env, SECRETS_KEY: `${SECRETS_KEY},hunter2`, ADMIN_API_KEY: `${admin},short` };
    expect(() => readConfig(wrong)).toThrow(
      /ADMIN_API_KEY must have at least 32 characters, not 5[^]*SECRETS_KEY must be 32 bytes/,
    );
    expect(() => readConfig(wrong)).not.toThrow(/hunter2|short|bbb/);
  });

  it('requires a SECRETS_KEY with a DATABASE_URL', () => {
    expect(problemsOf({ DATABASE_URL: EXTERNAL.DATABASE_URL })).toHaveLength(1);
    expect(problemsOf(EXTERNAL)).toEqual([]);
  });

  it.each([
    'postgres://u:p@db/webhooks',
    'postgresql://db:6432/webhooks?schema=webhooks',
    'postgres:///webhooks?host=/var/run/postgresql',
    'postgres://u:p@/webhooks?host=/var/run/postgresql',
    'postgres://u@%2Fvar%2Frun%2Fpostgresql/webhooks',
    'postgres://u:p@[::1]:5432/webhooks',
  ])('accepts %s as the address of Postgres', (url) => {
    expect(problemsOf({ ...EXTERNAL, DATABASE_URL: url, DATABASE_DIRECT_URL: url })).toEqual([]);
  });

  it.each([
    ['mysql://db/webhooks', 'must be a URL that starts with postgres://'],
    ['host=db dbname=webhooks', 'must be a URL that starts with postgres://'],
    ['postgres:///webhooks', 'names no host'],
    ['postgres://a:5432,b:5432/webhooks', 'names several hosts'],
    ['postgres://u:p@a,b/webhooks', 'names several hosts'],
    ['postgres://u:p@/webhooks?host=/a,/b', 'names several hosts'],
    ['postgres://u:secret#@db/webhooks', 'percent-encoded'],
    ['postgres://u:sec/ret@db/webhooks', 'percent-encoded'],
    ['postgres://db/webhooks?port=many', 'has a port that is not a number'],
    ['postgres://db/webhooks?sslrootcert=/not/there', 'names a file that cannot be read: /not/there'],
    ['postgres://db/webhooks?schema=pg_catalog', 'has a parameter schema'],
    ['postgres://db/webhooks?schema=', 'has a parameter schema'],
  ])('describes the problem of %s, and repeats no password', (url, problem) => {
    for (const name of ['DATABASE_URL', 'DATABASE_DIRECT_URL']) {
      const problems = problemsOf({ ...EXTERNAL, [name]: url });
      expect(problems).toEqual([expect.stringMatching(new RegExp(`^${name} .*${problem}`))]);
      expect(problems[0]).not.toContain('sec');
    }
  });

  it.each(['nats://u:p/assw0rd@n', 'nats://u:p#assw0rd@n', 'nats://u:p?assw0rd@n', 'nats://u:p%assw0rd@n'])(
    'reports that the password in %s must be percent-encoded, and does not repeat it',
    (url) => {
      for (const servers of [url, `nats://other:4222,${url}`]) {
        const problems = problemsOf({ NATS_URL: servers });
        expect(problems).toEqual([expect.stringMatching(/^NATS_URL .*percent-encoded/)]);
        expect(problems[0]).not.toContain('assw0rd');
      }
    },
  );

  it('reports a NATS password with a comma instead of reading it as two servers', () => {
    expect(problemsOf({ NATS_URL: 'nats://u:p,assw0rd@n' })).toEqual([
      expect.stringMatching(/^NATS_URL .*percent-encoded/),
    ]);
  });

  it('names every NATS log-in file that is unreadable or has the wrong content', () => {
    const files = {
      NATS_CREDS: '/not/there',
      NATS_CA_FILE: '/',
      NATS_CERT_FILE: '/dev/null',
      NATS_KEY_FILE: '/not/there',
    };
    expect(problemsOf({ NATS_URL: 'nats://n', ...files }).toSorted()).toEqual([
      'NATS_CA_FILE names "/", which cannot be read (EISDIR)',
      'NATS_CERT_FILE names "/dev/null", which is not PEM',
      'NATS_CREDS names "/not/there", which cannot be read (ENOENT)',
      'NATS_KEY_FILE names "/not/there", which cannot be read (ENOENT)',
    ]);
  });

  it.each([
    [{ NATS_CREDS: '/dev/null', NATS_URL: 'nats://n' }, 'NATS_CREDS .*no user JWT and seed'],
    [{ NATS_CA_FILE: FILE }, 'NATS_CA_FILE set without NATS_URL'],
    [{ NATS_CERT_FILE: FILE, NATS_URL: 'nats://n' }, 'NATS_CERT_FILE and NATS_KEY_FILE must be set together'],
    [{ NATS_REPLICAS: '2' }, 'NATS_REPLICAS must be 1, 3 or 5'],
    [{ NATS_EVENTS_MAX_BYTES: '3MiB' }, 'NATS_EVENTS_MAX_BYTES must be a size of at least 4MiB'],
    [{ NATS_DELIVERIES_MAX_BYTES: '8GB' }, 'NATS_DELIVERIES_MAX_BYTES must be a size'],
    [{ NATS_PREFIX: 'a.b' }, 'NATS_PREFIX must be 1 to 32 letters'],
  ])('rejects %j', (env, problem) => {
    expect(problemsOf(env)).toContainEqual(expect.stringMatching(new RegExp(`^${problem}`)));
  });

  it('accepts DATABASE_DIRECT_URL only with DATABASE_URL, and a pool of at least two connections', () => {
    expect(problemsOf({ DATABASE_DIRECT_URL: 'postgres://db/webhooks', DATABASE_POOL_SIZE: '1' })).toEqual([
      'DATABASE_POOL_SIZE must be a whole number from 2 to 1000, not "1"',
      'DATABASE_DIRECT_URL is set without DATABASE_URL',
    ]);
  });
});
