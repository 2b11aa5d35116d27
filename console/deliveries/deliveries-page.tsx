import { useLocation } from 'wouter';
import {
  DeliveryListDocument,
  type DeliveryRowFragment,
  DeliveryRowsDocument,
  DeliveryStatus,
  WaitReason,
} from '../generated/graphql.ts';
import styles from '../live-log/live-log-page.module.css';
import { NothingSent } from '../live-log/nothing-sent.tsx';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { readOneOf, useUrlParams } from '../shell/use-url-params.ts';
import { Endpoint } from '../ui/endpoint.tsx';
import { FilterChip } from '../ui/filter-chip.tsx';
import { FilterSelect } from '../ui/filter-select.tsx';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { DeliveryOutcome } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { Segments } from '../ui/segments.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time, useNow } from '../ui/time.tsx';
import { useIsWide } from '../ui/use-is-wide.ts';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { OpenDelivery } from './delivery-panel.tsx';
import { deliveriesWords as words } from './messages.ts';
import { StartMany } from './start-many.tsx';

const columnNames = messages.columns;
const COLUMNS: readonly Column<DeliveryRowFragment>[] = [
  {
    key: 'created',
    header: columnNames.created,
    width: '96px',
    from: 420,
    cell: ({ createdAt }) => <Time at={createdAt} />,
  },
  {
    key: 'status',
    header: columnNames.status,
    width: 'clamp(104px, 24%, 240px)',
    cell: (row) => <DeliveryOutcome {...row} />,
  },
  {
    key: 'type',
    header: columnNames.type,
    width: 'minmax(100px, 1fr)',
    from: 520,
    cell: ({ event }) => <code>{event == null ? messages.none : visibleLine(event.type)}</code>,
  },
  {
    key: 'endpoint',
    header: columnNames.endpoint,
    width: 'minmax(120px, 1.6fr)',
    cell: ({ subscription }) => <Endpoint url={subscription.url} />,
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 760,
    cell: ({ tenant }) => visibleLine(tenant),
  },
  {
    key: 'next',
    header: columnNames.next,
    width: '88px',
    align: 'end',
    from: 920,
    cell: ({ nextAttemptAt }) => (nextAttemptAt == null ? messages.none : <NextAttempt at={nextAttemptAt} />),
  },
  {
    key: 'attempts',
    header: columnNames.attempts,
    width: '64px',
    align: 'end',
    from: 620,
    cell: ({ attemptCount }) => attemptCount,
  },
];

/** The time of the next attempt; in the past, the delivery is due and waits for a limit or a circuit. */
function NextAttempt({ at }: { readonly at: string }) {
  return Date.parse(at) > useNow() ? <Time at={at} /> : messages.delivery.due;
}

/** Deliveries, filtered by status, wait reason and more. The URL has the filter and the open delivery. */
export function DeliveriesPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params, setParams] = useUrlParams();
  const [, navigate] = useLocation();
  const isWide = useIsWide();
  const state = readState(params);
  const { status, waiting } = state;
  const { subscription, event, type } = readNames(params);
  const named = {
    ...(subscription !== null && { subscriptionIds: [subscription] }),
    ...(event !== null && { eventIds: [event] }),
    ...(type !== '' && { eventTypes: [type] }),
  };
  const filter = { ...useTenantFilter(params.get('tenant')), ...named };
  const pages = usePages({
    query: DeliveryListDocument,
    variables: { filter: { ...filter, ...filterOf(state) } },
    pageOf: (data) => data.deliveries,
    live: liveRows({
      document: DeliveryRowsDocument,
      // Without status and wait reason, so that a delivery whose status changes can be removed from the list.
      filter,
      rowOf: ({ deliveryChanges }) => deliveryChanges.delivery,
      keyOf: ({ id }) => id,
      orderKeyOf: ({ createdAt }) => createdAt,
      matches: (row) => isOfState(row, state),
    }),
  });
  const open = params.get('delivery') ?? undefined;
  return (
    <>
      <PageTitle title={words.title}>
        {/* Jobs cannot select deliveries by event. */}
        {event === null && (
          <StartMany
            status={status}
            tenant={filter.tenant ?? tenantOf(pages.rows, subscription)}
            subscriptionId={subscription ?? ''}
            types={type}
          />
        )}
        {event !== null && (
          <FilterChip name={words.event} value={event} onRemove={() => setParams({ event: undefined })} />
        )}
        {subscription !== null && (
          <FilterChip
            name={columnNames.subscription}
            value={subscription}
            onRemove={() => setParams({ subscription: undefined })}
          />
        )}
        <SearchField label={messages.typeFilter} value={type} onChange={(text) => setParams({ type: text })} />
        {status === 'PENDING' && (
          <FilterSelect
            label={words.waitsFor}
            value={waiting ?? ''}
            onChange={(next) => setParams({ waiting: next, delivery: undefined })}
            options={[
              { value: '', name: words.anything },
              ...Object.values(WaitReason).map((value) => ({ value, name: words.waits[value] })),
            ]}
          />
        )}
        <Segments
          label={messages.columns.status}
          value={status ?? ''}
          onChange={(next) => setParams({ status: next, waiting: undefined, delivery: undefined })}
          options={[
            { value: '', name: words.all },
            ...Object.values(DeliveryStatus).map((value) => ({ value, name: messages.deliveryStatuses[value] })),
          ]}
        />
      </PageTitle>
      <div className={styles.split}>
        <PagedGrid
          label={words.label}
          columns={columns}
          pages={pages}
          rowKey={({ id }) => id}
          openKey={open}
          onOpen={({ id }) => (isWide ? setParams({ delivery: id, attempt: undefined }) : navigate(paths.delivery(id)))}
          empty={
            status === undefined && Object.keys(named).length === 0 ? (
              <NothingSent title={words.empty} />
            ) : (
              <EmptyState title={messages.noMatch} />
            )
          }
        />
        <OpenDelivery />
      </div>
    </>
  );
}

/** The tenant of the subscription by which the list is filtered; empty if it is unknown. */
function tenantOf(rows: readonly DeliveryRowFragment[], subscription: string | null): string {
  return subscription === null ? '' : (rows[0]?.tenant ?? '');
}

type State = { readonly status: DeliveryStatus | undefined; readonly waiting: WaitReason | undefined };

function readNames(params: URLSearchParams) {
  return {
    subscription: params.get('subscription'),
    event: params.get('event'),
    type: params.get('type')?.trim() ?? '',
  };
}

function readState(params: URLSearchParams): State {
  const status = readOneOf(Object.values(DeliveryStatus), params.get('status'));
  const waiting = readOneOf(Object.values(WaitReason), params.get('waiting'));
  return { status, waiting: status === 'PENDING' ? waiting : undefined };
}

function filterOf({ status, waiting }: State) {
  return {
    ...(status !== undefined && { statuses: [status] }),
    ...(waiting !== undefined && { waitingFor: [waiting] }),
  };
}

function isOfState(row: DeliveryRowFragment, { status, waiting }: State): boolean {
  return (status === undefined || row.status === status) && (waiting === undefined || row.waitingFor === waiting);
}
