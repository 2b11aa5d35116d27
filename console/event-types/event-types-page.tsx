import { useState } from 'react';
import { useQuery } from 'urql';
import { EventTypeListDocument, type EventTypeListQuery, ObservedEventTypesDocument } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { count } from '../ui/format.ts';
import type { Column } from '../ui/grid.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { Segments } from '../ui/segments.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { EventTypeDetails } from './event-type-details.tsx';
import { catalogueWords as words } from './messages.ts';
import { ObservedTypes } from './observed-types.tsx';
import { type EditedType, PutEventType } from './put-event-type.tsx';

type Row = EventTypeListQuery['eventTypes']['nodes'][number];

const COLUMNS: readonly Column<Row>[] = [
  {
    key: 'name',
    header: messages.columns.type,
    width: 'minmax(140px, 1fr)',
    cell: ({ name }) => <code>{visibleLine(name)}</code>,
  },
  {
    key: 'description',
    header: words.description,
    width: 'minmax(120px, 2fr)',
    from: 520,
    cell: ({ description }) => visibleLine(description),
  },
  {
    key: 'schema',
    header: words.schema,
    width: '120px',
    cell: ({ schema }) =>
      schema == null ? <Mark tone="neutral">{words.anyData}</Mark> : <Mark tone="success">{words.checked}</Mark>,
  },
  {
    key: 'subscriptions',
    header: words.subscriptions,
    width: '96px',
    align: 'end',
    from: 620,
    cell: ({ subscriptionCount }) => (
      <span title={words.subscriptionsHint}>
        {subscriptionCount == null ? messages.none : count(subscriptionCount)}
      </span>
    ),
  },
  {
    key: 'last',
    header: words.lastEvent,
    width: '92px',
    align: 'end',
    from: 420,
    cell: ({ lastEventAt }) => (lastEventAt == null ? messages.none : <Time at={lastEventAt} />),
  },
  {
    key: 'archived',
    header: messages.columns.status,
    width: '72px',
    from: 760,
    cell: ({ isArchived }) => (isArchived ? words.archived : words.listed),
  },
  {
    key: 'updated',
    header: words.changed,
    width: '92px',
    align: 'end',
    from: 900,
    cell: ({ updatedAt }) => <Time at={updatedAt} />,
  },
];

/** The event catalogue by name, and the types that it lacks; the address has the list and the open entry. */
export function EventTypesPage() {
  const [params, setParams] = useUrlParams();
  const { isAdmin } = useViewer();
  const tenant = useTenantFilter();
  const [edited, setEdited] = useState<EditedType>();
  const list = params.get('list') ?? '';
  const pages = usePages({
    query: EventTypeListDocument,
    variables: { filter: { includeArchived: list === 'archived' }, ...tenant },
    pageOf: (data) => data.eventTypes,
  });
  const [{ data: observed }, readObserved] = useQuery({
    query: ObservedEventTypesDocument,
    variables: tenant,
    // The catalogue is the operator's, and users of a tenant choose from it.
    pause: IS_PORTAL,
  });
  // Undefined for a session of some subscriptions, which may not read it.
  const unlisted = observed?.observedEventTypes;
  const open = params.get('type');
  return (
    <>
      <PageTitle title={words.title}>
        <Segments
          label={words.list}
          value={list}
          onChange={(next) => setParams({ list: next })}
          options={[
            { value: '', name: words.listed },
            { value: 'archived', name: words.withArchived },
            ...(unlisted === undefined ? [] : [{ value: 'unlisted', name: words.unlistedCount(unlisted.length) }]),
          ]}
        />
        {isAdmin && (
          <Button kind="primary" icon="plus" onClick={() => setEdited({})}>
            {words.add}
          </Button>
        )}
      </PageTitle>
      {list === 'unlisted' ? (
        unlisted !== undefined && (
          <ObservedTypes types={unlisted} onAdd={isAdmin ? (name) => setEdited({ name }) : undefined} />
        )
      ) : (
        <PagedGrid
          label={words.label}
          columns={COLUMNS}
          pages={pages}
          rowKey={({ name }) => name}
          onOpen={({ name }) => setParams({ type: name })}
          empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
        />
      )}
      {open !== null && edited === undefined && (
        <Dialog title={visibleLine(open)} onClose={() => setParams({ type: undefined, path: undefined })}>
          <EventTypeDetails
            key={open}
            name={open}
            violated={params.get('path')}
            onEdit={isAdmin ? (entry) => setEdited({ name: entry.name, entry }) : undefined}
          />
        </Dialog>
      )}
      {edited !== undefined && (
        <PutEventType
          initial={edited}
          onClose={() => setEdited(undefined)}
          onSaved={() => {
            setEdited(undefined);
            pages.refresh();
            readObserved({ requestPolicy: 'network-only' });
          }}
        />
      )}
    </>
  );
}
