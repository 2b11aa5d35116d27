import { describe, expect, it } from 'vitest';
import { ConfigError, readConfig } from '../../src/config.ts';

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
const EXTERNAL = { DATABASE_URL: 'postgres://u:p@db/webhooks', SECRETS_KEY };

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
    });
  });

  it('lets targets reach nothing inside, and only by https, once it has a database of its own', () => {
    expect(readConfig(EXTERNAL).egress).toMatchObject({ allowCidrs: [], allowHttp: 'never' });
  });

  it('takes an empty EGRESS_ALLOW_CIDRS for no ranges, not for the default', () => {
    expect(readConfig({ EGRESS_ALLOW_CIDRS: '' }).egress.allowCidrs).toEqual([]);
  });

  it('names every problem at once, and repeats no secret', () => {
    const problems = problemsOf({
      PORT: '70000',
      DATABASE_URL: 'mysql://user:hunter2@db',
      NATS_URL: 'nats://a:4222,http://b',
      ROLES: 'api,cook',
      ADMIN_API_KEY: 'short-hunter2',
      SECRETS_KEY: 'hunter2',
      EGRESS_ALLOW_CIDRS: '10.0.0.0/8,10.0.0.0/33',
      EGRESS_ALLOW_HTTP: 'maybe',
      EGRESS_DNS_SERVERS: 'dns.example',
      RETRY_SCHEDULE: '5s,8d',
      LOG_LEVEL: 'loud',
    });
    expect(problems.map((problem) => problem.split(' ')[0]).toSorted()).toEqual([
      'ADMIN_API_KEY',
      'DATABASE_URL',
      'EGRESS_ALLOW_CIDRS',
      'EGRESS_ALLOW_HTTP',
      'EGRESS_DNS_SERVERS',
      'LOG_LEVEL',
      'NATS_URL',
      'PORT',
      'RETRY_SCHEDULE',
      'ROLES',
      'SECRETS_KEY',
    ]);
    expect(problems.join()).not.toContain('hunter2');
  });

  it('wants a SECRETS_KEY with a DATABASE_URL', () => {
    expect(problemsOf({ DATABASE_URL: EXTERNAL.DATABASE_URL })).toHaveLength(1);
    expect(problemsOf(EXTERNAL)).toEqual([]);
  });
});
