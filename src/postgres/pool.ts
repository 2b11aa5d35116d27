import { createHash } from 'node:crypto';
import pg from 'pg';
import { Gauge, type Registry } from 'prom-client';
import { cachedRead } from '../lib/cached-read.ts';
import type { Database } from './client.ts';
import { closedError, isConnectionLost, isReadOnly, toConnectionError } from './errors.ts';

/* eslint-disable @typescript-eslint/unbound-method -- Reflect.apply() says whose they are */

export type PoolOptions = pg.PoolConfig & {
  /** Connections are closed at this age, up to a fifth earlier, so that those opened together do not end together. */
  readonly maxAgeMs?: number;
  /** Whether each connection prepares the statements with parameters: Postgres then parses and plans each of them once. */
  readonly prepares?: boolean;
};

/** After a failover or a change in DNS nothing else may show that a connection leads to the wrong server. */
const MAX_AGE_MS = 30 * 60_000;
const AGE_SPREAD = 0.2;

/** The pools of one database: what one of them finds out about its connections counts for all. */
export class PoolGroup {
  readonly #pools: pg.Pool[] = [];
  /** Connections that were opened before are not used again. In milliseconds, on performance.now()'s clock. */
  #since = 0;

  create(options: PoolOptions): pg.Pool {
    const pool = new Pool(options, this);
    this.#pools.push(pool);
    return pool;
  }

  /** Closes all connections that are open now, idle ones at once and the others when they are released. */
  renewConnections(): void {
    this.#since = performance.now();
    for (const pool of this.#pools) {
      for (let idle = pool.idleCount; idle > 0; idle -= 1) {
        pool.connect((_error, _client, release) => {
          release();
        });
      }
    }
  }

  isCurrent(openedAt: number): boolean {
    return openedAt >= this.#since;
  }
}

type Release = (error?: Error | boolean) => void;
type Connected = (error: Error | undefined, client: pg.PoolClient | undefined, done: Release) => void;

/**
 * A pool that does not take back a connection after an error that says it is useless, nor one that is too old. Its own
 * errors and those of the network have an SQLSTATE. After the end, every request for a connection gets the same error.
 */
class Pool extends pg.Pool {
  constructor({ maxAgeMs = MAX_AGE_MS, prepares = false, ...config }: PoolOptions, group: PoolGroup) {
    super({ ...config, Client: connectionClass({ maxAgeMs, prepares }, group) });
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: Connected): void;
  override connect(...args: unknown[]): unknown {
    const translate = (error: Error) => (this.ending ? closedError() : toConnectError(error));
    return translated(args, { method: super.connect, self: this, translate });
  }

  /** The pool is notified of an error that breaks a connection before the query is. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- stands for each of pg's signatures
  override query(...args: any[]): any {
    return translated(args, { method: super.query, self: this, translate: toQueryError });
  }
}

const toConnectError = (error: Error): Error => toConnectionError(error, '08001');
const toQueryError = (error: Error): Error => toConnectionError(error, '08006');

type ConnectionOptions = Required<Pick<PoolOptions, 'maxAgeMs' | 'prepares'>>;

function connectionClass({ maxAgeMs, prepares }: ConnectionOptions, group: PoolGroup) {
  return class extends pg.Client {
    readonly #openedAt = performance.now();
    readonly #oldestMs = maxAgeMs * (1 - AGE_SPREAD * Math.random());
    #broken: Error | undefined;
    #release: Release = () => undefined;

    /** The pool sets it each time it hands the connection out. */
    set release(release: Release) {
      this.#release = release;
    }

    get release(): Release {
      return (error) => {
        this.#release(error ?? this.#broken ?? this.#isOver());
      };
    }

    #isOver(): boolean {
      return performance.now() - this.#openedAt > this.#oldestMs || !group.isCurrent(this.#openedAt);
    }

    // eslint-disable-next-line @typescript-eslint/no-explicit-any -- stands for each of pg's signatures
    override query(...args: any[]): any {
      return translated(prepares ? prepared(args) : args, {
        method: super.query,
        self: this,
        translate: (cause) => {
          const error = toQueryError(cause);
          if (isReadOnly(error)) group.renewConnections();
          if (isConnectionLost(error)) this.#broken ??= error;
          // Without an answer to this statement, the next one would wait behind it.
          if (error !== cause) void this.end();
          return error;
        },
      });
    }
  };
}

/** The names of statements by their text. The texts are constants of this program: some fifty. */
const names = new Map<string, string>();
/** Further statements are not prepared: a text made at run time would otherwise fill the memory of every session. */
const MAX_PREPARED = 200;

/** The arguments of `query`, with a name for a statement with parameters. It depends on the text alone. */
function prepared(args: readonly unknown[]): unknown[] {
  const [text, values, ...rest] = args;
  if (typeof text !== 'string' || !Array.isArray(values)) return [...args];
  let name = names.get(text);
  if (name === undefined && names.size < MAX_PREPARED) {
    name = createHash('sha256').update(text).digest('base64url').slice(0, 22);
    names.set(text, name);
  }
  return [{ text, ...(name !== undefined && { name }) }, values, ...rest];
}

type Translation = {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- stands for each of pg's signatures
  readonly method: (...args: any[]) => unknown;
  readonly self: object;
  readonly translate: (error: Error) => Error;
};

/** Calls a method of pg's that takes a callback last, or else returns a promise, with its errors translated. */
function translated(args: unknown[], { method, self, translate }: Translation): unknown {
  const last = args.at(-1);
  if (typeof last === 'function') {
    const onDone = (error: unknown, ...results: unknown[]): unknown =>
      Reflect.apply(last, undefined, [error instanceof Error ? translate(error) : error, ...results]);
    return Reflect.apply(method, self, [...args.slice(0, -1), onDone]);
  }
  const result: unknown = Reflect.apply(method, self, args);
  if (!(result instanceof Promise)) return result;
  return result.catch((error: unknown) => {
    throw error instanceof Error ? translate(error) : error;
  });
}

const UP_WAIT_MS = 1_000;

/** Shows whether Postgres answers, and how its connections are used. */
export function watchPools(metrics: Registry, { pool, readPool }: Pick<Database, 'pool' | 'readPool'>): void {
  const registers = [metrics];
  const pools: readonly (readonly [string, pg.Pool])[] = [
    ['deliver', pool],
    ['graphql', readPool],
  ];
  const answers = cachedRead(() => pool.query('SELECT'), { waitMs: UP_WAIT_MS, freshMs: 0, staleMs: 0 });
  new Gauge({
    registers,
    name: 'webhooks_postgres_up',
    aggregator: 'min',
    help: 'Whether Postgres answered within a second, 0 or 1',
    async collect() {
      this.set((await answers()) === undefined ? 0 : 1);
    },
  });
  new Gauge({
    registers,
    name: 'webhooks_postgres_connections',
    labelNames: ['pool', 'state'],
    help: 'Connections to Postgres that are used or idle, of those that deliver and those that answer GraphQL, 10 each at most',
    collect() {
      for (const [name, each] of pools) {
        this.set({ pool: name, state: 'used' }, each.totalCount - each.idleCount);
        this.set({ pool: name, state: 'idle' }, each.idleCount);
      }
    },
  });
  new Gauge({
    registers,
    name: 'webhooks_postgres_waiting',
    labelNames: ['pool'],
    help: 'Requests that wait in this process for a connection to Postgres',
    collect() {
      for (const [name, each] of pools) this.set({ pool: name }, each.waitingCount);
    },
  });
}
