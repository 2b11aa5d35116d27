import { TenantListDocument, type TenantRowFragment, TenantRowsDocument } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useActAs } from '../shell/acting-tenant.ts';
import { useExamples } from '../shell/examples.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { count, countOf } from '../ui/format.ts';
import type { Column } from '../ui/grid.tsx';
import { Link } from '../ui/link.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { tenantsWords as words } from './messages.ts';

const COLUMNS: readonly Column<TenantRowFragment>[] = [
  {
    key: 'name',
    header: messages.columns.tenant,
    width: 'minmax(88px, 1fr)',
    cell: ({ name }) => <code>{visibleLine(name)}</code>,
  },
  {
    key: 'state',
    header: messages.columns.status,
    width: 'minmax(112px, 1fr)',
    cell: ({ figures }) => <State figures={figures} />,
  },
  {
    key: 'subscriptions',
    header: words.subscriptions,
    width: '104px',
    align: 'end',
    from: 560,
    cell: ({ figures }) => count(figures.subscriptionCount),
  },
  {
    key: 'failing',
    header: words.failing,
    width: '72px',
    align: 'end',
    from: 660,
    cell: ({ figures }) => count(figures.failingCount),
  },
  {
    key: 'pending',
    header: words.pending,
    width: '88px',
    align: 'end',
    from: 420,
    cell: ({ figures }) => countOf(figures.pendingCount, figures.isExact),
  },
  {
    key: 'last',
    header: words.lastEvent,
    width: '88px',
    align: 'end',
    from: 480,
    cell: ({ figures }) => (figures.lastEventAt == null ? words.never : <Time at={figures.lastEventAt} />),
  },
];

function State({ figures: { failingCount, openCircuitCount } }: Pick<TenantRowFragment, 'figures'>) {
  if (openCircuitCount > 0) return <Mark tone="failure">{words.open(openCircuitCount)}</Mark>;
  if (failingCount > 0) return <Mark tone="waiting">{words.someFail}</Mark>;
  return <Mark tone="success">{words.healthy}</Mark>;
}

/** The tenants, by name, for operators. Opening one acts as it. */
export function TenantsPage() {
  const [params, setParams] = useUrlParams();
  const actAs = useActAs();
  const examples = useExamples();
  const search = params.get('search') ?? '';
  // The server refuses other characters, which no name has.
  const filter = { search: search.replaceAll(/[^\w-]/g, '') };
  const pages = usePages({
    query: TenantListDocument,
    variables: { filter },
    pageOf: (data) => data.tenants,
    live: liveRows({
      document: TenantRowsDocument,
      filter: filter,
      rowOf: ({ tenantChanges }) => tenantChanges.tenant,
      keyOf: ({ name }) => name,
      orderKeyOf: ({ name }) => name,
      isAscending: true,
    }),
  });
  return (
    <>
      <PageTitle title={words.title}>
        <SearchField
          label={words.search}
          value={search}
          maxLength={64}
          onChange={(text) => setParams({ search: text })}
        />
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={COLUMNS}
        pages={pages}
        rowKey={({ name }) => name}
        onOpen={({ name }) => actAs(name)}
        empty={
          search === '' ? (
            <EmptyState title={words.empty} command={examples?.subscribe}>
              {words.emptyHint} <Link to={paths.subscriptions()}>{messages.nothingSent.create}</Link>{' '}
              {messages.nothingSent.orRun}
            </EmptyState>
          ) : (
            <EmptyState title={messages.noMatch} />
          )
        }
      />
    </>
  );
}
