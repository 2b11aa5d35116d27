import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import { useLocation } from 'wouter';
import { OpenDelivery } from '../deliveries/delivery-panel.tsx';
import { useStore } from '../graphql/store.ts';
import { useClients } from '../graphql/use-clients.tsx';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useActingTenant, useTenantColumns } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { preferences } from '../shell/preferences.ts';
import { useHotkey } from '../shell/use-hotkey.ts';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { copyText } from '../ui/copy.tsx';
import { exactTime } from '../ui/format.ts';
import { Grid, type GridHandle } from '../ui/grid.tsx';
import type { Rows } from '../ui/grid-view.ts';
import { EmptyState, ErrorState, SkeletonRows } from '../ui/states.tsx';
import { useDebounced } from '../ui/use-debounced.ts';
import { useIsWide } from '../ui/use-is-wide.ts';
import { COLUMNS, filterTermOf, knownValues } from './columns.tsx';
import { parseFilter, toggleTerm } from './filter.ts';
import { FilterField } from './filter-field.tsx';
import styles from './live-log-page.module.css';
import { LiveLog, type LogRow } from './live-log-store.ts';
import { NothingSent } from './nothing-sent.tsx';

/** All attempts, newest first, shown when they are logged. The URL has the filter and the open row. */
export function LiveLogPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params, setParams] = useUrlParams();
  const [, navigate] = useLocation();
  const isWide = useIsWide();
  const query = params.get('q') ?? '';
  const { log, problems, isPartlyLocal } = useLog(query);
  const { rows, inserted, pause, resume, isPaused, waiting } = useRows(log);
  const grid = useRef<GridHandle>(null);
  const field = useRef<HTMLInputElement>(null);
  useHotkey('/', () => field.current?.focus());
  useHotkey('p', isPaused ? resume : pause);

  const open = (row: LogRow) => {
    if (isWide) setParams({ delivery: row.deliveryId, attempt: row.id });
    else navigate(paths.delivery(row.deliveryId, row.id));
  };
  const onKey = (key: string, row: LogRow, column: string) => {
    if (key === 'f') {
      const term = filterTermOf(row, column);
      if (term !== undefined) setParams({ q: toggleTerm(query, term.key, term.value) });
    } else if (key === 'c') void copyText(linkTo(paths.delivery(row.deliveryId, row.id)));
    else return false;
    return true;
  };
  const words = messages.liveLog;
  const { phase, error } = log.state;
  return (
    <>
      <PageTitle title={words.title}>
        <Count log={log} shown={rows.length} />
      </PageTitle>
      <div className={styles.bar}>
        <FilterInput
          ref={field}
          value={query}
          onChange={(q) => setParams({ q })}
          known={() => knownValues(rows)}
          problems={problems}
          onLeave={() => grid.current?.focus()}
        />
        <Button icon={isPaused ? 'play' : 'pause'} aria-pressed={isPaused} onClick={isPaused ? resume : pause}>
          {isPaused ? words.resume(waiting) : words.pause}
        </Button>
        {isPartlyLocal && <SearchedPart log={log} />}
      </div>
      {error !== undefined && <ErrorState error={error} />}
      <div className={styles.split}>
        {/* Also while it loads, so that the keyboard stays in it. */}
        <Grid
          ref={grid}
          label={words.label}
          columns={columns}
          rows={rows}
          rowKey={rowKey}
          openKey={params.get('attempt') ?? undefined}
          onOpen={open}
          onKey={onKey}
          onEnd={isPaused ? undefined : log.loadOlder}
          inserted={inserted}
          empty={
            phase === 'loading' ? (
              <SkeletonRows count={16} />
            ) : (
              error === undefined && <Empty isFiltered={query !== ''} onClear={() => setParams({ q: undefined })} />
            )
          }
        />
        <OpenDelivery />
      </div>
    </>
  );
}

const rowKey = ({ id }: LogRow) => id;

function linkTo(path: string): string {
  return new URL(`.${path}`, document.baseURI).href;
}

/** Says that there are older attempts than the shown ones. Empty before the first page has been read. */
function Count({ log, shown }: { readonly log: LiveLog; readonly shown: number }) {
  const { phase, error, hasOlder } = log.state;
  if (shown === 0 && (phase === 'loading' || error !== undefined)) return null;
  return (
    <span className={styles.count}>{messages.liveLog.rows(shown, shown > 0 && (hasOlder || log.rows.isFull))}</span>
  );
}

function Empty({ isFiltered, onClear }: { readonly isFiltered: boolean; readonly onClear: () => void }) {
  const words = messages.liveLog;
  if (!isFiltered) return <NothingSent title={words.empty} />;
  return (
    <EmptyState title={words.noMatch}>
      {words.noMatchHint} <Button onClick={onClear}>{words.clearFilter}</Button>
    </EmptyState>
  );
}

/** The oldest time that the page has searched, for a filter that the server cannot apply completely. */
function SearchedPart({ log }: { readonly log: LiveLog }) {
  const { zone } = useStore(preferences);
  const { hasOlder, isLoadingOlder, readBackTo } = log.state;
  const words = messages.liveLog;
  if (!hasOlder || readBackTo === undefined) return null;
  return (
    <p className={styles.searched}>
      {words.searchedTo(exactTime(Date.parse(readBackTo), zone))}
      <Button kind="quiet" disabled={isLoadingOlder} onClick={() => void log.loadOlder()}>
        {words.searchOlder}
      </Button>
    </p>
  );
}

function useLog(query: string) {
  const clients = useClients();
  const [openedAt] = useState(() => Date.now());
  const tenant = useActingTenant();
  const { log, ...rest } = useMemo(() => {
    const parsed = parseFilter(query, openedAt);
    const matches = (row: LogRow) => {
      if (row.responseTimeMs < parsed.minResponseTimeMs) return false;
      if (parsed.words.length === 0) return true;
      const text = textOf(row);
      return parsed.words.every((word) => text.includes(word));
    };
    return {
      log: new LiveLog({ ...parsed.filter, ...(tenant !== undefined && { tenant }) }, matches),
      problems: parsed.problems,
      isPartlyLocal: parsed.isPartlyLocal,
    };
  }, [query, openedAt, tenant]);
  useEffect(() => log.connect(clients), [log, clients]);
  return { log, ...rest };
}

function textOf(row: LogRow): string {
  const { eventType, tenant, url, subscriptionId, statusCode, failureReason, id, deliveryId } = row;
  const parts = [eventType, tenant, url, subscriptionId, statusCode, failureReason, id, deliveryId];
  return parts.join('\n').toLowerCase();
}

/** The rows to show: the current rows of the log, or the rows at the time of the pause. */
function useRows(log: LiveLog) {
  useSyncExternalStore(log.subscribe, log.getVersion);
  const [paused, setPaused] = useState<{ log: LiveLog; rows: Rows<LogRow>; appended: number }>();
  const isPaused = paused?.log === log;
  const pause = useCallback(() => {
    setPaused({ log, rows: log.rows.slice(), appended: log.rows.appended });
  }, [log]);
  return {
    rows: isPaused ? paused.rows : log.rows,
    inserted: isPaused ? paused.appended : log.rows.appended,
    isPaused,
    waiting: isPaused ? log.rows.appended - paused.appended : 0,
    pause,
    resume: () => setPaused(undefined),
  };
}

/** Applies the filter when typing pauses or the field is left. */
function FilterInput({ value, onChange, onLeave, ...rest }: Parameters<typeof FilterField>[0]) {
  const { text, type, pass } = useDebounced(value, onChange);
  return (
    <FilterField
      {...rest}
      value={text}
      onChange={type}
      onLeave={() => {
        pass();
        onLeave();
      }}
    />
  );
}
