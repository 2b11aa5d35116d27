import { createHash } from 'node:crypto';
import pg from 'pg';
import { Gauge, type Registry } from 'prom-client';
import { cachedRead } from '../lib/cached-read.ts';
import type { Database } from './client.ts';
import { closedError, isConnectionLost, isReadOnly } from './errors.ts';
import { ignoreErrorEvents, toConnectError, toQueryError, translated } from './translated.ts';

/* oxlint-disable typescript/unbound-method -- Reflect.apply() passes the object of each method */

export type PoolOptions = pg.PoolConfig & {
  /**
   * Maximum age of a connection, in milliseconds. A random part of up to a fifth is subtracted, so that connections that
   * were opened at the same time are not closed at the same time.
   */
  readonly maxAgeMs?: number;
  /** Whether connections prepare statements with parameters: Postgres then parses and plans each once per connection. */
  readonly prepares?: boolean;
};

/**
 * 30 minutes. After a failover or a change in DNS, an open connection to the wrong server may never fail, so each is closed
 * at this age.
 */
const MAX_AGE_MS = 30 * 60_000;
const AGE_SPREAD = 0.2;

/** The pools of one database. When one pool finds that the server is read-only, all pools renew their connections. */
export class PoolGroup {
  readonly #pools: pg.Pool[] = [];
  /** Connections opened before this time are not used again. In milliseconds, on the clock of performance.now(). */
  #since = 0;

  create(options: PoolOptions): pg.Pool {
    const pool = new Pool(options, this);
    this.#pools.push(pool);
    return pool;
  }

  /** Closes the connections that are open now: idle ones immediately, and the others when they are released. */
  renewConnections(): void {
    this.#since = performance.now();
    for (const pool of this.#pools) {
      for (let idle = pool.idleCount; idle > 0; idle -= 1) {
        // If no connection can be opened in time, pg-pool passes the error alone.
        pool.connect((_error, _client, release?: Release) => release?.());
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
 * A pool that closes a released connection after an error of CONNECTION_LOST (errors.ts), or if it is too old. Errors of the
 * pool and of the network get an SQLSTATE. After end(), every request for a connection rejects with closedError().
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

  /** pg reports an error that breaks a connection to the pool first, so that error also has to be translated here. */
  // oxlint-disable-next-line typescript/no-explicit-any -- stands for each of pg's signatures
  override query(...args: any[]): any {
    return translated(args, { method: super.query, self: this, translate: toQueryError });
  }
}

type ConnectionOptions = Required<Pick<PoolOptions, 'maxAgeMs' | 'prepares'>>;

function connectionClass({ maxAgeMs, prepares }: ConnectionOptions, group: PoolGroup) {
  return class extends pg.Client {
    readonly #openedAt = performance.now();
    readonly #maxAgeMs = maxAgeMs * (1 - AGE_SPREAD * Math.random());
    #broken: Error | undefined;
    #release: Release = () => undefined;

    constructor(config?: pg.ClientConfig) {
      super(config);
      ignoreErrorEvents(this);
    }

    /** The pool sets this property each time it checks the connection out. */
    set release(release: Release) {
      this.#release = release;
    }

    get release(): Release {
      return (error) => {
        this.#release(error ?? this.#broken ?? this.#isExpired());
      };
    }

    #isExpired(): boolean {
      return performance.now() - this.#openedAt > this.#maxAgeMs || !group.isCurrent(this.#openedAt);
    }

    // oxlint-disable-next-line typescript/no-explicit-any -- stands for each of pg's signatures
    override query(...args: any[]): any {
      return translated(prepares ? prepared(args) : args, {
        method: super.query,
        self: this,
        translate: (cause) => {
          const error = toQueryError(cause);
          if (isReadOnly(error)) group.renewConnections();
          if (isConnectionLost(error)) this.#broken ??= error;
          // Without an answer from Postgres the statement may still be running, and the next one would queue behind it.
          if (error !== cause) void this.end();
          return error;
        },
      });
    }
  };
}

/** The names of prepared statements by their text. The texts are constants of the engine, about fifty. */
const names = new Map<string, string>();
/** Maximum size of `names`. Further statements are not prepared: texts built at run time would fill the sessions' memory. */
const MAX_PREPARED = 200;

/** The arguments of `query`, with a name if the statement has parameters. The name depends only on the statement's text. */
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

const UP_WAIT_MS = 1_000;

/** Registers the gauges of Postgres's availability and of the pools. */
export function registerPoolMetrics(metrics: Registry, { pool, readPool }: Pick<Database, 'pool' | 'readPool'>): void {
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
    help: '1 if Postgres answered within 1 s, otherwise 0',
    async collect() {
      this.set((await answers()) === undefined ? 0 : 1);
    },
  });
  new Gauge({
    registers,
    name: 'webhooks_postgres_connections',
    labelNames: ['pool', 'state'],
    help: 'Open connections to Postgres, used and idle, in the pool for deliveries and in the pool for GraphQL',
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
    help: 'Requests of this process that wait for a connection of the pool',
    collect() {
      for (const [name, each] of pools) this.set({ pool: name }, each.waitingCount);
    },
  });
}
