import {
  RejectedEventDetailsDocument,
  RejectedEventListDocument,
  type RejectedRowFragment,
  RejectedRowsDocument,
  RejectionReason,
} from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { readOneOf, useUrlParams } from '../shell/use-url-params.ts';
import { CopyButton } from '../ui/copy.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Facts } from '../ui/facts.tsx';
import { FilterSelect } from '../ui/filter-select.tsx';
import { bytes, count } from '../ui/format.ts';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { Link } from '../ui/link.tsx';
import { OpenRow } from '../ui/open-row.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { EmptyState } from '../ui/states.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import { rejectedEventsWords as words } from './messages.ts';
import { mismatchOf } from './mismatch.ts';

const columnNames = messages.columns;
const COLUMNS: readonly Column<RejectedRowFragment>[] = [
  { key: 'created', header: columnNames.time, width: '92px', cell: ({ createdAt }) => <Time at={createdAt} /> },
  {
    key: 'reason',
    header: columnNames.reason,
    width: 'minmax(120px, 200px)',
    cell: ({ reason }) => <Mark tone="failure">{words.reasons[reason]}</Mark>,
  },
  {
    key: 'message',
    header: words.message,
    width: 'minmax(140px, 3fr)',
    from: 420,
    cell: ({ message }) => visibleLine(message),
  },
  {
    key: 'subject',
    header: words.subject,
    width: 'minmax(120px, 2fr)',
    from: 620,
    cell: ({ subject }) => <code>{visibleLine(subject)}</code>,
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 760,
    cell: ({ tenant }) => (tenant == null ? messages.none : visibleLine(tenant)),
  },
  {
    key: 'size',
    header: columnNames.size,
    width: '80px',
    align: 'end',
    from: 900,
    cell: ({ sizeBytes }) => count(sizeBytes),
  },
];

/** Published messages that could not become events, newest first. The URL has the reason and the open one. */
export function RejectedEventsPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params, setParams] = useUrlParams();
  const reason = readOneOf(Object.values(RejectionReason), params.get('reason'));
  const open = params.get('event');
  const close = () => setParams({ event: undefined });
  const filter = { ...useTenantFilter(params.get('tenant')), ...(reason !== undefined && { reasons: [reason] }) };
  const pages = usePages({
    query: RejectedEventListDocument,
    variables: { filter },
    pageOf: (data) => data.rejectedEvents,
    live: liveRows({
      document: RejectedRowsDocument,
      filter,
      rowOf: ({ rejectedEventLog }) => rejectedEventLog.rejectedEvent,
      keyOf: ({ id }) => id,
      orderKeyOf: ({ createdAt }) => createdAt,
    }),
  });
  return (
    <>
      <PageTitle title={words.title}>
        <FilterSelect
          label={columnNames.reason}
          value={reason ?? ''}
          onChange={(value) => setParams({ reason: value })}
          options={[
            { value: '', name: words.all },
            ...Object.values(RejectionReason).map((value) => ({ value, name: words.reasons[value] })),
          ]}
        />
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={columns}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => setParams({ event: id })}
        empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
      />
      <OpenRow
        id={open}
        rows={pages.rows}
        query={RejectedEventDetailsDocument}
        rowOf={({ search }) => search.rejectedEvent}
        words={words}
        onClose={close}
      >
        {(event) => <RejectedEvent event={event} onClose={close} />}
      </OpenRow>
    </>
  );
}

function RejectedEvent({ event, onClose }: { readonly event: RejectedRowFragment; readonly onClose: () => void }) {
  const mismatch = mismatchOf(event);
  return (
    <Dialog title={words.reasons[event.reason]} onClose={onClose}>
      <p>{visibleText(event.message)}</p>
      <Facts
        facts={[
          { name: words.subject, value: <code>{visibleLine(event.subject)}</code> },
          event.tenant != null && { name: columnNames.tenant, value: visibleLine(event.tenant) },
          { name: words.size, value: bytes(event.sizeBytes) },
          { name: columnNames.time, value: <ExactTime at={event.createdAt} /> },
        ]}
      />
      {mismatch !== undefined && (
        <p>
          <Link to={paths.eventType(mismatch.type, mismatch.path)}>{words.schema(visibleLine(mismatch.type))}</Link>
        </p>
      )}
      <p>{words.again}</p>
      <CopyButton text={JSON.stringify(event, undefined, 2)}>{messages.copyJson}</CopyButton>
    </Dialog>
  );
}
