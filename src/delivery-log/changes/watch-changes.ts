import type { Viewer } from '../../auth/viewer.ts';
import { DomainError } from '../../lib/errors.ts';
import { type Emission, emissionsOf, LiveBuffer } from '../live-buffer.ts';
import { type ChangeFeed, type ChangeFeedOptions, type ChangeWithRow, MAX_LOADED, withRows } from './change-feed.ts';
import { ChangePosition, inOrder, type Snapshot } from './change-position.ts';
import { isComplete, readChanges } from './journal.ts';

/** A changed row in its present state. `cursor`: the position to resume from. */
export type LiveChange<Row> = { readonly row: Row; readonly cursor: string };

/** The changes since a cursor are no longer recorded, or the cursor is from a database that was restored. */
export class CursorExpiredError extends DomainError {
  readonly code = 'CURSOR_EXPIRED';

  constructor() {
    super('the changes since this cursor are no longer recorded; read changesCursor, then the list, then subscribe');
  }
}

type WatchContext = {
  readonly viewer: Viewer;
  /** Aborts when the server stops. */
  readonly stopping: AbortSignal;
};

type WatchOptions<Row> = {
  readonly feed: ChangeFeed<Row>;
  readonly matches: (row: Row) => boolean;
  /** If several rows with the same key are read together, only the last one is shown. Default: all rows are shown. */
  readonly keyOf?: (row: Row) => string;
  /** Only rows of this tenant; undefined: rows of all tenants. */
  readonly tenant: string | undefined;
  /** The position to resume from; undefined: start with the next change. */
  readonly after: ChangePosition | undefined;
};

/**
 * A matching change of the transactions that are in `to` and not in `from`; undefined: these transactions have no
 * further matching change.
 */
type Item<Row> = { readonly from: Snapshot; readonly to: Snapshot; readonly change: ChangeWithRow<Row> | undefined };

/**
 * Emits the rows that changed since `after`, and those that change from now on. Starts to watch before it reads, so
 * that no change is lost in between. Reads from Postgres the changes that did not fit into the buffer.
 */
export function watchChanges<Row>(
  context: WatchContext,
  options: WatchOptions<Row>,
): AsyncIterableIterator<Emission<LiveChange<Row>>> {
  const { feed, matches } = options;
  const buffer = new LiveBuffer<Item<Row>>({
    signal: context.stopping,
    watch: ({ push, gap }) =>
      feed.watch((batch) => {
        if (batch === undefined) {
          gap();
          return;
        }
        const { from, to } = batch;
        for (const change of batch.changes) if (matches(change.row)) push({ from, to, change });
        push({ from, to, change: undefined }, (last) =>
          last.change === undefined && last.to === from ? { ...last, to } : undefined,
        );
      }),
  });
  return emissionsOf({ buffer, values: changesOf(context, { ...options, buffer }) });
}

/**
 * Returns the present position in the changes of every table. A change that is missing in later reads of the client is
 * after this position.
 */
export async function presentPosition({ viewer }: Pick<WatchContext, 'viewer'>, feed: PresentFeed): Promise<string> {
  const { table, database, reads } = feed.options;
  await feed.ensureRecording();
  const page = await reads.run(viewer.tenant ?? viewer.credentialId, () => readChanges(database.readPool, { table }));
  return new ChangePosition(page.snapshot).toString();
}

type PresentFeed = {
  readonly options: Pick<ChangeFeedOptions<never>, 'table' | 'database' | 'reads'>;
  readonly ensureRecording: () => Promise<void>;
};

type ChangesOptions<Row> = WatchOptions<Row> & { readonly buffer: LiveBuffer<Item<Row>> };

async function* changesOf<Row>(
  { viewer }: WatchContext,
  options: ChangesOptions<Row>,
): AsyncGenerator<LiveChange<Row>, void> {
  const { feed, after, buffer } = options;
  const { table, database, reads } = feed.options;
  const readFairly: FairRead = (read) =>
    reads.run(viewer.tenant ?? viewer.credentialId, () => {
      if (buffer.ended) throw new Error('the stream has ended');
      return read();
    });
  await feed.ensureRecording();
  let position =
    after ?? new ChangePosition((await readFairly(() => readChanges(database.readPool, { table }))).snapshot);
  const show = ({ row }: ChangeWithRow<Row>) => ({ row, cursor: position.toString(table) });
  let taken = after === undefined ? await buffer.take() : 'gap';
  for (; taken !== undefined; taken = await buffer.take()) {
    let isGap = taken === 'gap';
    const items = taken === 'gap' ? [] : taken;
    const isShown = lastOfKey(
      items.flatMap(({ change }) => change ?? []),
      options.keyOf,
    );
    for (const { from, to, change } of items) {
      isGap ||= !position.seen.includes(from);
      if (isGap) break;
      if (change === undefined) {
        if (to.includes(position.seen)) position = new ChangePosition(to);
      } else if (!position.has(change)) {
        position = position.after(change, to);
        if (isShown(change)) yield show(change);
      }
    }
    if (!isGap) continue;
    for await (const step of catchUp({ ...options, position, readFairly })) {
      ({ position } = step);
      if (step.change !== undefined) yield show(step.change);
    }
  }
}

function lastOfKey<Row>(
  changes: readonly ChangeWithRow<Row>[],
  keyOf: WatchOptions<Row>['keyOf'],
): (change: ChangeWithRow<Row>) => boolean {
  if (keyOf === undefined) return () => true;
  const last = new Map(changes.map((change) => [keyOf(change.row), change]));
  return (change) => last.get(keyOf(change.row)) === change;
}

type FairRead = <T>(read: () => Promise<T>) => Promise<T>;

type CatchUpOptions<Row> = ChangesOptions<Row> & { readonly position: ChangePosition; readonly readFairly: FairRead };

/** The position after a change that was read, or after changes that do not match. */
type Step<Row> = { readonly position: ChangePosition; readonly change?: ChangeWithRow<Row> };

/** Maximum entries of the journal in one statement. Each entry has the rows of one statement. */
const PAGE_SIZE = 50;

/** Reads the changes after the position, up to the present. Each statement is a separate fair read. */
async function* catchUp<Row>(options: CatchUpOptions<Row>): AsyncGenerator<Step<Row>, void> {
  const { feed, buffer, matches, tenant, readFairly } = options;
  const { table, database, load } = feed.options;
  let { position } = options;
  for (let isDone = false; !isDone; ) {
    const { seen } = position;
    const page = await readFairly(() => readChanges(database.readPool, { table, beyond: seen, limit: PAGE_SIZE }));
    if (!isComplete(page, seen)) throw new CursorExpiredError();
    const { snapshot, hasMore } = page;
    isDone = !hasMore;
    const changes = inOrder(page.changes);
    const last = changes.at(-1);
    const unseen = changes.filter((change) => !position.has(change));
    for (let start = 0; start < unseen.length && !buffer.ended; start += MAX_LOADED) {
      const chunk = unseen.slice(start, start + MAX_LOADED);
      const ids = chunk.map(({ id }) => id);
      const rows = await readFairly(() => load(ids, tenant));
      const matching = withRows(chunk, rows).filter(({ row }) => matches(row));
      const isShown = lastOfKey(matching, options.keyOf);
      for (const change of matching) {
        position = position.after(change, snapshot);
        if (isShown(change)) yield { position, change };
      }
    }
    position = new ChangePosition(hasMore && last !== undefined ? seen.extendedTo(last.xid, snapshot) : snapshot);
    yield { position };
  }
}
