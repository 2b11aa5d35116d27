import { useLocation } from 'wouter';
import { EventListDocument, type EventRowFragment, EventRowsDocument } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { useExamples } from '../shell/examples.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { CutInMiddle } from '../ui/id.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { eventsWords as words } from './messages.ts';

const columnNames = messages.columns;
const COLUMNS: readonly Column<EventRowFragment>[] = [
  { key: 'created', header: columnNames.created, width: '96px', cell: ({ createdAt }) => <Time at={createdAt} /> },
  {
    key: 'type',
    header: columnNames.type,
    width: 'minmax(120px, 1fr)',
    cell: ({ type }) => <code>{visibleLine(type)}</code>,
  },
  {
    key: 'id',
    header: columnNames.id,
    width: 'minmax(120px, 1fr)',
    from: 520,
    cell: ({ id }) => (
      <code>
        <CutInMiddle text={visibleLine(id)} />
      </code>
    ),
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 420,
    cell: ({ tenant }) => visibleLine(tenant),
  },
];

/** Events, newest first. The URL has the filter by tenant and type. */
export function EventsPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params, setParams] = useUrlParams();
  const [, navigate] = useLocation();
  const examples = useExamples();
  const type = params.get('type')?.trim() ?? '';
  const filter = { ...useTenantFilter(params.get('tenant')), ...(type !== '' && { eventTypes: [type] }) };
  const pages = usePages({
    query: EventListDocument,
    variables: { filter },
    pageOf: (data) => data.events,
    live: liveRows({
      document: EventRowsDocument,
      filter,
      rowOf: ({ eventLog }) => eventLog.event,
      keyOf,
      orderKeyOf: ({ createdAt }) => createdAt,
    }),
  });
  return (
    <>
      <PageTitle title={words.title}>
        <SearchField label={messages.typeFilter} value={type} onChange={(text) => setParams({ type: text })} />
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={columns}
        pages={pages}
        rowKey={keyOf}
        onOpen={(row) => navigate(paths.event(row.tenant, row.id))}
        empty={
          type === '' ? (
            <EmptyState title={words.empty} command={examples?.publish}>
              {examples === undefined ? words.emptyHint : words.publishHint}
            </EmptyState>
          ) : (
            <EmptyState title={messages.noMatch} />
          )
        }
      />
    </>
  );
}

/** Publishers' ids are unique within a tenant only. */
function keyOf({ tenant, id }: EventRowFragment): string {
  return `${tenant}\n${id}`;
}
