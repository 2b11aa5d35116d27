import { useState } from 'react';
import { useLocation } from 'wouter';
import {
  SubscriptionListDocument,
  type SubscriptionRowFragment,
  SubscriptionRowsDocument,
} from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { useExamples } from '../shell/examples.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { FilterChip } from '../ui/filter-chip.tsx';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { Segments } from '../ui/segments.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { CreateSubscription } from './create-subscription.tsx';
import { subscriptionsWords as words } from './messages.ts';
import { readState, STATES, subscriptionMatches } from './subscription-filter.ts';
import { SubscriptionState } from './subscription-state.tsx';

const columnNames = messages.columns;
const COLUMNS: readonly Column<SubscriptionRowFragment>[] = [
  {
    key: 'state',
    header: columnNames.status,
    width: 'clamp(100px, 30%, 272px)',
    cell: (row) => <SubscriptionState subscription={row} />,
  },
  {
    key: 'endpoint',
    header: columnNames.endpoint,
    width: 'minmax(140px, 2fr)',
    cell: ({ url }) => <Endpoint url={url} />,
  },
  {
    key: 'types',
    header: words.eventTypes,
    width: 'minmax(100px, 1fr)',
    from: 620,
    cell: ({ eventTypes }) => <code>{eventTypes.map(visibleLine).join(', ')}</code>,
  },
  {
    key: 'description',
    header: words.description,
    width: 'minmax(100px, 1fr)',
    from: 1_100,
    cell: ({ description }) => visibleLine(description),
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 760,
    cell: ({ tenant }) => visibleLine(tenant),
  },
  {
    key: 'updated',
    header: words.changed,
    width: '88px',
    align: 'end',
    from: 900,
    cell: ({ updatedAt }) => <Time at={updatedAt} />,
  },
];

/** A row that was read is not deleted. */
type LiveSubscription = SubscriptionRowFragment & { readonly deletedAt?: string | null };

/** Webhook subscriptions, newest first; the address has the filter. */
export function SubscriptionsPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params, setParams] = useUrlParams();
  const [, navigate] = useLocation();
  const { canWrite, seesAllSubscriptions } = useViewer();
  const [isCreating, setCreating] = useState(false);
  const [state, search] = [readState(params.get('state')), params.get('search') ?? ''];
  const eventType = params.get('type');
  const ofTenant = useTenantFilter(params.get('tenant'));
  const filter = {
    ...(state !== '' && STATES[state]),
    ...(search !== '' && { search }),
    ...(eventType !== null && { eventType }),
  };
  const pages = usePages({
    query: SubscriptionListDocument,
    variables: { filter: { ...ofTenant, ...filter } },
    pageOf: (data) => data.webhookSubscriptions,
    live: liveRows({
      document: SubscriptionRowsDocument,
      filter: ofTenant,
      rowOf: ({ subscriptionChanges }): LiveSubscription => subscriptionChanges.subscription,
      keyOf: ({ id }) => id,
      orderKeyOf: ({ createdAt }) => createdAt,
      matches: (row) => row.deletedAt == null && subscriptionMatches(row, filter),
    }),
  });
  return (
    <>
      <PageTitle title={words.title}>
        {params.has('tenant') && ofTenant.tenant !== undefined && (
          <FilterChip
            name={columnNames.tenant}
            value={ofTenant.tenant}
            onRemove={() => setParams({ tenant: undefined })}
          />
        )}
        {eventType !== null && (
          <FilterChip name={columnNames.type} value={eventType} onRemove={() => setParams({ type: undefined })} />
        )}
        <SearchField label={words.search} value={search} onChange={(text) => setParams({ search: text })} />
        <Segments
          label={columnNames.status}
          value={state}
          onChange={(next) => setParams({ state: next })}
          options={[
            { value: '', name: words.all },
            { value: 'active', name: words.active },
            { value: 'failing', name: words.failing },
            { value: 'paused', name: words.paused },
            { value: 'inactive', name: words.inactive },
          ]}
        />
        {canWrite && seesAllSubscriptions && (
          <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
            {words.create}
          </Button>
        )}
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={columns}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => navigate(paths.subscription(id))}
        empty={Object.keys(filter).length === 0 ? <NoSubscription /> : <EmptyState title={messages.noMatch} />}
      />
      {isCreating && <CreateSubscription tenant={ofTenant.tenant ?? ''} onClose={() => setCreating(false)} />}
    </>
  );
}

/** The next step is the button of the page, or a command. */
function NoSubscription() {
  const { canWrite, seesAllSubscriptions } = useViewer();
  const examples = useExamples();
  return (
    <EmptyState title={words.empty} command={examples?.subscribe}>
      {words.emptyHint} {canWrite && seesAllSubscriptions ? words.createHint : messages.nothingSent.cannotCreate}
      {examples !== undefined && ` ${words.commandHint}`}
    </EmptyState>
  );
}
