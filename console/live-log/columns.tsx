import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { preferences } from '../shell/preferences.ts';
import { Endpoint } from '../ui/endpoint.tsx';
import { clockTime, count } from '../ui/format.ts';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import type { Rows } from '../ui/grid-view.ts';
import { AttemptOutcome } from '../ui/outcome.tsx';
import { useNow } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import type { FilterKey, KnownValues } from './filter.ts';
import styles from './live-log-page.module.css';
import type { LogRow } from './live-log-store.ts';

const columnNames = messages.columns;

/** Width of a phone in pixels. On narrower screens, milliseconds would leave no space for the outcome. */
const NARROW = 420;

export const COLUMNS: readonly Column<LogRow>[] = [
  { key: 'time', header: columnNames.time, width: '92px', from: NARROW, cell: (row) => <Clock at={row.startedAt} /> },
  {
    key: 'shortTime',
    header: columnNames.time,
    width: '60px',
    below: NARROW,
    cell: (row) => <Clock at={row.startedAt} isShort />,
  },
  {
    key: 'outcome',
    header: columnNames.outcome,
    width: 'minmax(104px, 168px)',
    cell: (row) => <AttemptOutcome {...row} />,
  },
  {
    key: 'type',
    header: columnNames.type,
    width: 'minmax(76px, 1fr)',
    cell: (row) => (
      <span className={styles.type}>
        {visibleLine(row.eventType)}
        {row.isTest && <span className={styles.test}>{messages.liveLog.test}</span>}
      </span>
    ),
  },
  {
    key: 'endpoint',
    header: columnNames.endpoint,
    width: 'minmax(160px, 2fr)',
    from: 620,
    cell: (row) => <Endpoint url={row.url} />,
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 760,
    cell: (row) => visibleLine(row.tenant),
  },
  { key: 'attempt', header: columnNames.attempt, width: '56px', align: 'end', from: 900, cell: (row) => row.number },
  {
    key: 'ms',
    header: columnNames.ms,
    width: '56px',
    align: 'end',
    from: 520,
    cell: (row) => count(row.responseTimeMs),
  },
  {
    key: 'size',
    header: columnNames.size,
    width: '64px',
    align: 'end',
    from: 980,
    cell: (row) => count(row.payloadSizeBytes),
  },
];

function Clock({ at, isShort = false }: { readonly at: string; readonly isShort?: boolean }) {
  const { zone } = useStore(preferences);
  const ms = Date.parse(at);
  const text = clockTime(ms, { nowMs: useNow(), zone });
  return <time dateTime={at}>{isShort ? text.replace(/\.\d+$/, '') : text}</time>;
}

type FilterTerm = { readonly key: FilterKey; readonly value: string };

/** The filter term for the value of a cell; undefined if its column has none. */
export function filterTermOf(row: LogRow, column: string): FilterTerm | undefined {
  if (column === 'type') return { key: 'type', value: row.eventType };
  if (column === 'endpoint') return { key: 'sub', value: row.subscriptionId };
  if (column === 'tenant') return { key: 'tenant', value: row.tenant };
  if (column === 'attempt') return { key: 'attempt', value: String(row.number) };
  if (column === 'ms') return { key: 'slow', value: `${row.responseTimeMs}ms` };
  if (column !== 'outcome') return undefined;
  if (row.statusCode != null) return { key: 'code', value: String(row.statusCode) };
  if (row.failureReason != null) return { key: 'reason', value: row.failureReason.toLowerCase() };
  return { key: 'status', value: row.status.toLowerCase() };
}

const READ_FOR_COMPLETION = 500;

/** Values of the newest rows. */
export function knownValues(rows: Rows<LogRow>): KnownValues {
  const types = new Set<string>();
  const tenants = new Set<string>();
  const urls = new Map<string, string>();
  for (let index = 0; index < Math.min(rows.length, READ_FOR_COMPLETION); index += 1) {
    const row = rows.at(index);
    if (row === undefined) continue;
    types.add(row.eventType);
    tenants.add(row.tenant);
    // The rows are newest first: an older URL does not replace the current one.
    if (!urls.has(row.subscriptionId)) urls.set(row.subscriptionId, row.url);
  }
  const prefixes = [...types].flatMap((type) => (type.includes('.') ? [`${type.split('.', 1)[0] ?? ''}.*`] : []));
  return {
    values: { type: [...prefixes, ...types].sort(), tenant: [...tenants].sort(), sub: [...urls.keys()] },
    urls,
  };
}
