import { readFileSync } from 'node:fs';
import process from 'node:process';
import type { JwtConfig } from '../auth/jwt.ts';
import { StartError } from '../lib/start-error.ts';
import { readTable, type Values, type Variable } from './table.ts';
import { TABLE } from './variables.ts';

type TableValues = Values<typeof TABLE>;

/** The configuration, read from the environment and checked. infrastructure.ts generates the secrets that are not set. */
export type Config = Omit<TableValues, 'jwt'> & {
  /** How the JWTs of tenants' front ends are verified; undefined: JWTs are rejected. */
  readonly jwt: JwtConfig | undefined;
  /** Whether NODE_ENV is `production`. */
  readonly isProduction: boolean;
  /** The value of PATH, in which an installed nats-server is searched for. */
  readonly searchPath: string;
};

/** The configuration is wrong. `problems` contains all problems, so that the operator can fix them after one start. */
export class ConfigError extends StartError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `The configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n- ${problems.join('\n- ')}`,
    );
    this.problems = problems;
  }
}

/** Reads and checks all variables. Throws a ConfigError with all problems. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const problems: string[] = [];
  const isSet: IsSet = (name) => !isEmpty(env[name]) || !isEmpty(env[`${name}_FILE`]);
  const isProduction = env['NODE_ENV'] === 'production';
  const facts = { isEmbedded: !isSet('DATABASE_URL'), isProduction };
  const values = readTable(TABLE, (variable) => {
    try {
      const text = readText(variable, env);
      return text === undefined ? variable.fallback(facts) : variable.parse(text);
    } catch (error) {
      problems.push(`${variable.name} ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  });
  problems.push(...findContradictions(values, isSet));
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...values, jwt: jwtConfig(values.jwt), isProduction, searchPath: env['PATH'] ?? '' };
}

function isEmpty(text: string | undefined): boolean {
  return text === undefined || text.trim() === '';
}

/** The text of a variable without surrounding white space, from its file if `<NAME>_FILE` is set; undefined: unset. */
function readText({ name, isSecret, canBeEmpty }: Variable<unknown>, env: NodeJS.ProcessEnv): string | undefined {
  const text = env[name]?.trim();
  const file = isSecret ? env[`${name}_FILE`]?.trim() : undefined;
  if (isEmpty(file)) return isEmpty(text) && !canBeEmpty ? undefined : text;
  if (!isEmpty(text)) throw new Error(`and ${name}_FILE are both set: set one of them`);
  return readSecretFile(String(file));
}

/** The error messages never contain the content, which is a secret. */
function readSecretFile(path: string): string {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new Error(`cannot be read from the file ${JSON.stringify(path)} (${code})`, { cause: error });
  }
  if (isEmpty(content)) throw new Error(`cannot be read from the file ${JSON.stringify(path)}, which is empty`);
  return content.trim();
}

type IsSet = (name: string) => boolean;

/** Problems of combinations of variables whose values are each valid. */
function findContradictions(values: TableValues, isSet: IsSet): string[] {
  const nats = ['NATS_CREDS', 'NATS_CA_FILE', 'NATS_CERT_FILE', 'NATS_KEY_FILE'].filter(isSet);
  const rules: readonly (readonly [isBroken: boolean, problem: string])[] = [
    [
      isSet('DATABASE_URL') && !isSet('SECRETS_KEY'),
      'SECRETS_KEY must be set when DATABASE_URL is: 32 bytes in base64, as `openssl rand -base64 32` prints',
    ],
    [
      isSet('ALERT_WEBHOOK_SECRET') && !isSet('ALERT_WEBHOOK_URL'),
      'ALERT_WEBHOOK_SECRET is set without ALERT_WEBHOOK_URL',
    ],
    [values.egress.proxyResolves && !isSet('EGRESS_PROXY'), 'EGRESS_PROXY_RESOLVES is set without EGRESS_PROXY'],
    [isSet('DATABASE_DIRECT_URL') && !isSet('DATABASE_URL'), 'DATABASE_DIRECT_URL is set without DATABASE_URL'],
    [
      nats.length > 0 && !isSet('NATS_URL'),
      `${nats.join(', ')} set without NATS_URL: the embedded nats-server does not use them`,
    ],
    [
      isSet('NATS_CERT_FILE') !== isSet('NATS_KEY_FILE'),
      'NATS_CERT_FILE and NATS_KEY_FILE must be set together: set both or neither',
    ],
    [
      isSet('NATS_CREDS') && values.natsServers?.some((server) => server.includes('@')) === true,
      'NATS_CREDS and NATS_URL both contain a log-in: remove user and password from NATS_URL',
    ],
    [isSet('JWT_SECRET') && isSet('JWT_JWKS_URL'), 'JWT_SECRET and JWT_JWKS_URL are both set: set one of them'],
  ];
  return rules.flatMap(([isBroken, problem]) => (isBroken ? [problem] : []));
}

function jwtConfig({ secret, jwksUrl }: TableValues['jwt']): JwtConfig | undefined {
  if (secret !== undefined) return { secret };
  return jwksUrl === undefined ? undefined : { jwksUrl };
}
