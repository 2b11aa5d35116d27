import type { ReactNode } from 'react';
import {
  OverviewDocument,
  type OverviewQuery,
  type SubscriptionStateFragment,
  WatchDeliveriesDocument,
  WatchRejectedEventsDocument,
  WatchSubscriptionsDocument,
} from '../generated/graphql.ts';
import { useStore } from '../graphql/store.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { changeStream } from '../graphql/watch-changes.ts';
import { NothingSent } from '../live-log/nothing-sent.tsx';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { rejectedEventsWords } from '../rejected-events/messages.ts';
import { useActingTenant, useShowsTenants } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { preferences } from '../shell/preferences.ts';
import { useUrlParams } from '../shell/use-url-params.ts';
import { subscriptionsWords } from '../subscriptions/messages.ts';
import { SubscriptionState } from '../subscriptions/subscription-state.tsx';
import { Bars } from '../ui/bars.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { count, countOf, percent } from '../ui/format.ts';
import { Link } from '../ui/link.tsx';
import { Mark } from '../ui/outcome.tsx';
import { Section } from '../ui/section.tsx';
import { Segments } from '../ui/segments.tsx';
import { ErrorState, SkeletonRows } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { overviewWords as words } from './messages.ts';
import styles from './overview-page.module.css';
import { bucketLabel, RANGE_NAMES, type RangeName, readRange, useRange } from './ranges.ts';
import { ServerHealth } from './server-health.tsx';

/** Milliseconds for which changes are collected before one read, because statistics of a month count many rows. */
const COLLECT_MS = 5_000;

/** The state of all objects that the credential may see. Each number links to its list. */
export function OverviewPage() {
  const [params, setParams] = useUrlParams();
  const range = readRange(params.get('range'));
  const tenant = useActingTenant();
  const { isAdmin } = useViewer();
  const ofTenant = tenant === undefined ? {} : { tenant };
  const [{ data, error, fetching }] = useWatchedQuery({
    query: OverviewDocument,
    variables: { ...useRange(range), ...ofTenant },
    streams: (_, changed) => [
      changeStream({ document: WatchDeliveriesDocument, filter: ofTenant, onChange: changed }),
      changeStream({ document: WatchSubscriptionsDocument, filter: ofTenant, onChange: changed }),
      changeStream({ document: WatchRejectedEventsDocument, filter: ofTenant, onChange: changed }),
    ],
    collectMs: COLLECT_MS,
  });
  return (
    <>
      <PageTitle title={words.title}>
        <Segments
          label={words.range}
          value={range}
          onChange={(next) => setParams({ range: next })}
          options={RANGE_NAMES.map((name) => ({ value: name, name: words.ranges[name] }))}
        />
      </PageTitle>
      {isAdmin && tenant === undefined && <ServerHealth answer={error ?? data} />}
      {error !== undefined && data === undefined && <ErrorState error={error} />}
      {data === undefined ? fetching && <SkeletonRows count={12} /> : <Parts data={data} range={range} />}
    </>
  );
}

function Parts({ data, range }: { readonly data: OverviewQuery; readonly range: RangeName }) {
  const { total } = data.deliveryStats;
  return (
    <>
      <Figures data={data} range={range} />
      {total.attemptCount === 0 ? (
        <NothingSent title={words.nothing(words.ranges[range])} />
      ) : (
        <Outcomes stats={data.deliveryStats} range={range} />
      )}
      <Deactivated {...data.deactivated} />
      <Failing {...data.webhookSubscriptions} />
      <div className={styles.columns}>
        <Reasons groups={data.failures.groups} range={range} />
        <Rejected nodes={data.rejectedEvents.nodes} />
      </div>
    </>
  );
}

function Figures({ data, range }: { readonly data: OverviewQuery; readonly range: RangeName }) {
  const { total } = data.deliveryStats;
  const { pending, isExact } = data.deliveryCounts;
  const since = `since:${range}`;
  const figures = [
    { name: words.succeeded, value: count(total.successCount), to: paths.liveLog(`status:success ${since}`) },
    { name: words.failed, value: count(total.failureCount), to: paths.liveLog(`status:failure ${since}`) },
    { name: words.successRate, value: total.successRate == null ? messages.none : percent(total.successRate) },
    { name: words.latency, value: latencyOf(total.responseTimeMs) },
    {
      name: words.pending,
      value: countOf(pending, isExact),
      to: paths.deliveries({ status: 'PENDING' }),
    },
  ];
  return (
    <dl className={styles.figures}>
      {figures.map(({ name, value, to }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{to === undefined ? value : <Link to={to}>{value}</Link>}</dd>
        </div>
      ))}
    </dl>
  );
}

function latencyOf(times: { readonly p50: number; readonly p95: number } | null | undefined): string {
  return times == null ? messages.none : words.latencyOf(Math.round(times.p50), Math.round(times.p95));
}

function Outcomes({ stats, range }: { readonly stats: OverviewQuery['deliveryStats']; readonly range: RangeName }) {
  const { zone } = useStore(preferences);
  const title = words.outcomes(stats.total.successCount, stats.total.failureCount, words.ranges[range]);
  return (
    <Section title={title}>
      <Bars
        title={title}
        words={{ succeeded: words.succeeded, failed: words.failed, period: words.period }}
        bars={stats.buckets.map((bucket) => ({
          key: bucket.from,
          label: bucketLabel(bucket.from, range, zone),
          succeeded: bucket.successCount,
          failed: bucket.failureCount,
          note: bucket.responseTimeMs == null ? undefined : latencyOf(bucket.responseTimeMs),
        }))}
      />
    </Section>
  );
}

function Deactivated({ nodes, pageInfo }: OverviewQuery['deactivated']) {
  if (nodes.length === 0) return null;
  const title = words.deactivated(nodes.length, pageInfo.hasNextPage);
  return (
    <Section title={title} actions={<Link to={paths.subscriptions({ state: 'inactive' })}>{words.allInactive}</Link>}>
      <SubscriptionTable
        label={title}
        nodes={nodes}
        head={[subscriptionsWords.changed]}
        cellsOf={({ updatedAt }) => [<Time key="changed" at={updatedAt} />]}
      />
    </Section>
  );
}

function Failing({ nodes, pageInfo }: OverviewQuery['webhookSubscriptions']) {
  const title = words.failing(nodes.length, pageInfo.hasNextPage);
  const all = pageInfo.hasNextPage && <Link to={paths.subscriptions({ state: 'failing' })}>{words.allFailing}</Link>;
  return (
    <Section title={title} actions={all}>
      {nodes.length > 0 && (
        <SubscriptionTable
          label={title}
          nodes={nodes}
          head={[words.pending, words.oldest, words.deactivation]}
          numbers={[words.pending]}
          cellsOf={({ health: { pendingCount, isExact, oldestPendingAt, willDeactivateAt } }) => [
            countOf(pendingCount, isExact),
            oldestPendingAt == null ? messages.none : <Time key="oldest" at={oldestPendingAt} />,
            willDeactivateAt == null ? messages.none : <Time key="deactivation" at={willDeactivateAt} />,
          ]}
        />
      )}
    </Section>
  );
}

type SubscriptionTableProps<Row> = {
  readonly label: string;
  readonly nodes: readonly Row[];
  /** The columns after those that all tables of subscriptions have, and their cells. */
  readonly head: readonly string[];
  readonly cellsOf: (row: Row) => readonly ReactNode[];
  readonly numbers?: readonly string[];
};

function SubscriptionTable<Row extends SubscriptionStateFragment & { readonly url: string; readonly tenant: string }>({
  label,
  nodes,
  head,
  cellsOf,
  numbers = [],
}: SubscriptionTableProps<Row>) {
  const showsTenants = useShowsTenants();
  const tenant = showsTenants ? [messages.columns.tenant] : [];
  return (
    <Table
      label={label}
      head={[messages.columns.status, messages.columns.endpoint, ...tenant, ...head]}
      grow={messages.columns.endpoint}
      numbers={numbers}
      rows={nodes.map((row) => ({
        key: row.id,
        cells: [
          <SubscriptionState key="state" subscription={row} />,
          <Link key="endpoint" to={paths.subscription(row.id)}>
            <Endpoint url={row.url} />
          </Link>,
          ...(showsTenants
            ? [
                <span key="tenant" className={styles.tenant} title={visibleLine(row.tenant)}>
                  {visibleLine(row.tenant)}
                </span>,
              ]
            : []),
          ...cellsOf(row),
        ],
      }))}
    />
  );
}

type ReasonsProps = { readonly groups: OverviewQuery['failures']['groups']; readonly range: RangeName };

function Reasons({ groups, range }: ReasonsProps) {
  return (
    <Section title={groups.length === 0 ? words.noFailures : words.reasons}>
      {groups.length > 0 && (
        <Table
          label={words.reasons}
          head={[messages.columns.reason, messages.columns.attempts]}
          numbers={[messages.columns.attempts]}
          rows={groups.map(({ key, total }) => ({
            key,
            cells: [
              <Link key="reason" to={paths.liveLog(`reason:${key.toLowerCase()} since:${range}`)}>
                {messages.failureReason(key)}
              </Link>,
              count(total.attemptCount),
            ],
          }))}
        />
      )}
    </Section>
  );
}

function Rejected({ nodes }: OverviewQuery['rejectedEvents']) {
  return (
    <Section
      title={nodes.length === 0 ? rejectedEventsWords.empty : words.rejected}
      actions={nodes.length > 0 && <Link to={paths.rejectedEvents()}>{words.allRejected}</Link>}
    >
      {nodes.length > 0 && (
        <Table
          label={words.rejected}
          head={[messages.columns.time, messages.columns.reason, rejectedEventsWords.message]}
          grow={rejectedEventsWords.message}
          rows={nodes.map((row) => ({
            key: row.id,
            cells: [
              <Time key="time" at={row.createdAt} />,
              <Link key="reason" to={paths.rejectedEvents(row.id)}>
                <Mark tone="failure">{rejectedEventsWords.reasons[row.reason]}</Mark>
              </Link>,
              visibleLine(row.message),
            ],
          }))}
        />
      )}
    </Section>
  );
}
