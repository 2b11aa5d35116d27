import { hostname } from 'node:os';
import process from 'node:process';
import type { Registry } from 'prom-client';
import type { Role } from '../config/parsers.ts';
import { isObject } from '../lib/json.ts';
import { VERSION } from '../lib/version.ts';
import type { RollCall } from '../nats/roll-call.ts';
import type { HealthPart, ServerHealth, ServerProcess, ServerProcesses } from '../schema/server.ts';
import { healthOf, type Readiness } from './health.ts';

/** The description that a process sends of itself. It has spans in place of times, because clocks differ. */
export type ProcessReport = Omit<ServerProcess, 'id' | 'startedAt' | 'answeredAt' | 'health'> & {
  readonly uptimeSeconds: number;
  readonly health: ServerHealth;
};

type ReportDeps = {
  readonly roles: ReadonlySet<Role>;
  /** Number of the worker process. */
  readonly worker?: number | undefined;
  readonly metrics: Registry;
  readonly checkReadiness: () => Promise<Readiness>;
};

/** Longest message of a part, in characters; with MAX_PARTS and MAX_WARNINGS it keeps a report below the 16 KiB of an answer. */
const MAX_MESSAGE = 400;
const MAX_WARNINGS = 4;
const MAX_PARTS = 6;
const MAX_ROLES = 10;
/** Longest name: a host name has up to 253 characters. */
const MAX_NAME = 253;
/** The largest Int of GraphQL. */
const MAX_INT = 2 ** 31 - 1;

/** Describes this process. */
export async function reportProcess({ roles, worker, metrics, checkReadiness }: ReportDeps): Promise<ProcessReport> {
  const health = healthOf(await checkReadiness());
  const inFlight = await metrics.getSingleMetric('webhooks_attempts_in_flight')?.get();
  return {
    hostname: hostname(),
    pid: process.pid,
    worker,
    roles: [...roles],
    version: VERSION,
    nodeVersion: process.versions.node,
    uptimeSeconds: Math.round(process.uptime()),
    memoryBytes: process.memoryUsage.rss(),
    attemptsInFlight: inFlight?.values[0]?.value,
    health: { ...health, parts: health.parts.map(shortenPart) },
  };
}

function shortenPart({ message, warnings = [], ...part }: HealthPart): HealthPart {
  return {
    ...part,
    ...(message !== undefined && { message: message.slice(0, MAX_MESSAGE) }),
    warnings: warnings.slice(0, MAX_WARNINGS).map((warning) => warning.slice(0, MAX_MESSAGE)),
  };
}

/** Checks the report of another process, perhaps of another version. Throws an error that names the wrong member. */
export function parseReport(report: unknown): ProcessReport {
  const read = readerOf(report);
  const health = readerOf(read.value('health'));
  return {
    hostname: read.text('hostname', MAX_NAME),
    pid: read.count('pid'),
    worker: read.optional('worker', (name) => read.count(name)),
    roles: read.list('roles', MAX_ROLES).map((role) => textOf('roles', role, MAX_NAME)),
    version: read.text('version', MAX_NAME),
    nodeVersion: read.text('nodeVersion', MAX_NAME),
    uptimeSeconds: read.count('uptimeSeconds'),
    memoryBytes: read.count('memoryBytes', Number.MAX_SAFE_INTEGER),
    attemptsInFlight: read.optional('attemptsInFlight', (name) => read.count(name)),
    health: { isReady: health.boolean('isReady'), parts: health.list('parts', MAX_PARTS).map(parsePart) },
  };
}

function parsePart(part: unknown): HealthPart {
  const read = readerOf(part);
  const message = read.optional('message', (name) => read.text(name, MAX_MESSAGE));
  const warnings = read.list('warnings', MAX_WARNINGS);
  return {
    name: read.text('name', MAX_NAME),
    ok: read.boolean('ok'),
    ...(message !== undefined && { message }),
    warnings: warnings.map((warning) => textOf('warnings', warning, MAX_MESSAGE)),
    ...(read.value('needed') === false && { needed: false as const }),
  };
}

/** Reads members of an object by their names. */
function readerOf(object: unknown) {
  if (!isObject(object)) throw new Error('a report that is no object');
  const value = (name: string): unknown => (Object.hasOwn(object, name) ? object[name] : undefined);
  return {
    value,
    /** An integer that a Float of GraphQL shows exactly; with the default of `max` also an Int. */
    count: (name: string, max = MAX_INT): number => {
      const found = value(name);
      if (typeof found === 'number' && Number.isInteger(found) && found >= 0 && found <= max) return found;
      throw new Error(`a report without a count ${name} of at most ${max}`);
    },
    boolean: (name: string): boolean => {
      const found = value(name);
      if (typeof found === 'boolean') return found;
      throw new Error(`a report without a boolean ${name}`);
    },
    text: (name: string, max: number): string => textOf(name, value(name), max),
    list: (name: string, max: number): readonly unknown[] => {
      const found = value(name);
      if (Array.isArray(found) && found.length <= max) return found;
      throw new Error(`a report without a list ${name} of at most ${max}`);
    },
    optional: <T>(name: string, read: (name: string) => T): T | undefined =>
      value(name) === undefined ? undefined : read(name),
  };
}

function textOf(name: string, value: unknown, max: number): string {
  if (typeof value === 'string' && value.length <= max) return value;
  throw new Error(`a report without a text ${name} of at most ${max} characters`);
}

type FindDeps = {
  readonly rollCall: Pick<RollCall<ProcessReport>, 'ask'>;
  /** The time of the database, in milliseconds. */
  readonly now: () => number;
};

/** The processes of the installation, with their times on the database's clock. */
export async function findProcesses({ rollCall, now }: FindDeps): Promise<ServerProcesses> {
  const { problems, entries } = await rollCall.ask();
  const nowMs = now();
  const nodes = entries.map(({ id, report, answeredMsAgo, hasAnswered }) => {
    const { uptimeSeconds, health, ...facts } = report;
    const answeredAtMs = nowMs - answeredMsAgo;
    // To the second, so that it is the same in each answer, as a rule.
    const startedAtMs = Math.round(answeredAtMs / 1_000 - uptimeSeconds) * 1_000;
    return {
      ...facts,
      id,
      startedAt: new Date(startedAtMs),
      answeredAt: new Date(answeredAtMs),
      health: hasAnswered ? health : undefined,
    };
  });
  nodes.sort((a, b) => compare(a.hostname, b.hostname) || a.pid - b.pid || compare(a.id, b.id));
  return { problem: problems.length === 0 ? undefined : problems.join('; '), nodes };
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
