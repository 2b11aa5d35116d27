import type { Logger } from 'pino';
import { FailureLog } from '../../lib/failure-log.ts';
import { InFlight } from '../../lib/in-flight.ts';
import { pause } from '../../lib/waiting.ts';
import type { ChangedTable } from '../../postgres/changes.ts';
import type { Database } from '../../postgres/client.ts';
import { failureLevel } from '../../postgres/errors.ts';
import type { FairReads } from '../fair-reads.ts';
import { inOrder, type OrderedChange, type Snapshot } from './change-position.ts';
import { isComplete, keepRecording, RENEW_MS, readChanges } from './journal.ts';

export type ChangeWithRow<Row> = OrderedChange & { readonly row: Row };

/** All changes of the transactions that are in snapshot `to` and not in `from`. */
export type ChangeBatch<Row> = {
  readonly from: Snapshot;
  readonly to: Snapshot;
  readonly changes: readonly ChangeWithRow<Row>[];
};

/** Called with each batch; undefined means that changes may be missing, and the stream must read them from Postgres. */
type ChangeWatcher<Row> = (batch: ChangeBatch<Row> | undefined) => void;

/** Loads the rows of a table by id, only those of the tenant if one is given. Rows that no longer exist are omitted. */
export type LoadRows<Row> = (ids: readonly string[], tenant?: string) => Promise<ReadonlyMap<string, Row>>;

export type ChangeFeedOptions<Row> = {
  readonly table: ChangedTable;
  readonly load: LoadRows<Row>;
  readonly database: Pick<Database, 'readPool'>;
  readonly reads: FairReads;
  readonly log: Logger;
};

/** Milliseconds between two reads while there are readers. */
const INTERVAL_MS = 250;
/** Maximum entries and rows that one read distributes. If there are more, each reader reads them itself. */
const MAX_ENTRIES = 500;
const MAX_ROWS = 2_000;
/** Maximum rows per statement: Prisma converts them to objects in one turn of the event loop. */
export const MAX_LOADED = 250;

/**
 * The changes of one table, for the live streams of this process. While there are streams, it reads the journal four
 * times a second, once for all streams. Without streams it reads nothing.
 */
export class ChangeFeed<Row> {
  readonly options: ChangeFeedOptions<Row>;
  readonly #watchers = new Set<ChangeWatcher<Row>>();
  readonly #running = new InFlight();
  readonly #failures: FailureLog;
  #stop = new AbortController();
  #renewedAt = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | undefined;

  constructor(options: ChangeFeedOptions<Row>) {
    this.options = options;
    const { log, table } = options;
    this.#failures = new FailureLog(log, { work: 'reading changes', levelOf: failureLevel, facts: { table } });
  }

  /** Calls the watcher with every change from now on, until the returned function is called. */
  watch(watcher: ChangeWatcher<Row>): () => void {
    this.#watchers.add(watcher);
    if (this.#watchers.size === 1) {
      this.#stop = new AbortController();
      void this.#running.track(this.#run(this.#stop.signal));
    }
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) this.#stop.abort();
    };
  }

  /** Resolves when recording is active: every change that is committed afterwards is recorded. */
  async ensureRecording(): Promise<void> {
    if (performance.now() - this.#renewedAt < RENEW_MS) return;
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
  }

  async #renew(): Promise<void> {
    const startedAt = performance.now();
    await this.#running.track(keepRecording(this.options.database));
    this.#renewedAt = startedAt;
  }

  /** Waits for the read in progress. Call it after all streams have ended. */
  async stop(): Promise<void> {
    await this.#running.settled();
  }

  async #run(signal: AbortSignal): Promise<void> {
    let last: Snapshot | undefined;
    while (!signal.aborted) {
      try {
        await this.ensureRecording();
        last = await this.#read(last);
        this.#failures.succeeded();
      } catch (error) {
        // Nothing is committed while Postgres is unavailable; the next read finds earlier commits.
        this.#failures.failed(error);
      }
      await pause(INTERVAL_MS, signal);
    }
  }

  /** Distributes the changes after the snapshot `from`, and returns the snapshot at which they were read. */
  async #read(from: Snapshot | undefined): Promise<Snapshot> {
    const { table, database, load } = this.options;
    const page = await readChanges(database.readPool, { table, beyond: from, limit: MAX_ENTRIES });
    // Recording has stopped, for example because this process was suspended, so it must be started again.
    if (page.completeFrom === undefined) this.#renewedAt = Number.NEGATIVE_INFINITY;
    const { snapshot: to, hasMore } = page;
    const changes = inOrder(page.changes);
    if (from === undefined || !isComplete(page, from) || hasMore || changes.length > MAX_ROWS) {
      this.#distribute(undefined);
    } else if (!from.includes(to)) {
      this.#distribute({ from, to, changes: withRows(changes, await loadInChunks(load, changes)) });
    }
    return to;
  }

  #distribute(batch: ChangeBatch<Row> | undefined): void {
    for (const watcher of this.#watchers) watcher(batch);
  }
}

async function loadInChunks<Row>(
  load: LoadRows<Row>,
  changes: readonly OrderedChange[],
): Promise<ReadonlyMap<string, Row>> {
  const rows = new Map<string, Row>();
  for (let start = 0; start < changes.length; start += MAX_LOADED) {
    const ids = changes.slice(start, start + MAX_LOADED).map(({ id }) => id);
    for (const [id, row] of await load(ids)) rows.set(id, row);
  }
  return rows;
}

/** The changes whose rows still exist. */
export function withRows<Row>(changes: readonly OrderedChange[], rows: ReadonlyMap<string, Row>): ChangeWithRow<Row>[] {
  return changes.flatMap((change) => {
    const row = rows.get(change.id);
    return row === undefined ? [] : [{ ...change, row }];
  });
}
