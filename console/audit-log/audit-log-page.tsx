import { AuditDetailsDocument, AuditListDocument, type AuditRowFragment } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { readOneOf, useUrlParams } from '../shell/use-url-params.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Diff } from '../ui/diff.tsx';
import { Facts } from '../ui/facts.tsx';
import { FilterSelect } from '../ui/filter-select.tsx';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { CutInMiddle, Id } from '../ui/id.tsx';
import { Link } from '../ui/link.tsx';
import { OpenRow } from '../ui/open-row.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { EmptyState } from '../ui/states.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import styles from './audit-log-page.module.css';
import { changedNames, settingsText } from './changed-settings.ts';
import { AUDITED_MUTATIONS, auditWords as words } from './messages.ts';
import { objectPath } from './object-path.ts';

const columnNames = messages.columns;
const COLUMNS: readonly Column<AuditRowFragment>[] = [
  { key: 'time', header: columnNames.time, width: '92px', cell: ({ createdAt }) => <Time at={createdAt} /> },
  {
    key: 'mutation',
    header: words.mutation,
    width: 'minmax(140px, 190px)',
    cell: ({ mutation }) => <code>{visibleLine(mutation)}</code>,
  },
  {
    key: 'actor',
    header: words.actor,
    width: 'minmax(100px, 0.8fr)',
    from: 420,
    cell: ({ actor }) => actorInWords(actor),
  },
  {
    key: 'object',
    header: words.object,
    width: 'minmax(140px, 1.6fr)',
    from: 760,
    cell: (row) => <ListedObject {...row} />,
  },
  {
    key: 'changes',
    header: words.changes,
    width: 'minmax(120px, 1.4fr)',
    from: 620,
    cell: ({ before, after }) => <code>{visibleLine(changedNames(before, after))}</code>,
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 900,
    cell: ({ tenant }) => (tenant == null ? messages.none : visibleLine(tenant)),
  },
];

/** The changes made with mutations, newest first. The URL has the filter and the open entry. */
export function AuditLogPage() {
  const columns = useTenantColumns(COLUMNS);
  const [params, setParams] = useUrlParams();
  const open = params.get('entry');
  const close = () => setParams({ entry: undefined });
  const mutation = readOneOf(AUDITED_MUTATIONS, params.get('mutation'));
  const object = params.get('object')?.trim() ?? '';
  const filter = {
    ...useTenantFilter(params.get('tenant')),
    ...(mutation !== undefined && { mutations: [mutation] }),
    ...(object !== '' && { objectIds: [object] }),
  };
  const pages = usePages({ query: AuditListDocument, variables: { filter }, pageOf: (data) => data.auditLog });
  return (
    <>
      <PageTitle title={words.title}>
        <SearchField label={words.searchObject} value={object} onChange={(text) => setParams({ object: text })} />
        <FilterSelect
          label={words.mutation}
          value={mutation ?? ''}
          onChange={(value) => setParams({ mutation: value })}
          options={[
            { value: '', name: words.allMutations },
            ...AUDITED_MUTATIONS.map((name) => ({ value: name, name })),
          ]}
        />
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={columns}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => setParams({ entry: id })}
        empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
      />
      <OpenRow
        id={open}
        rows={pages.rows}
        query={AuditDetailsDocument}
        rowOf={({ search }) => search.auditEntry}
        words={words}
        onClose={close}
      >
        {(entry) => <Entry entry={entry} onClose={close} />}
      </OpenRow>
    </>
  );
}

function Entry({ entry, onClose }: { readonly entry: AuditRowFragment; readonly onClose: () => void }) {
  const { mutation, actor, objectId, tenant, createdAt } = entry;
  const filter = useTenantFilter();
  const [before, after] = [settingsText(entry.before), settingsText(entry.after)];
  return (
    <Dialog title={visibleLine(mutation)} onClose={onClose}>
      <Facts
        facts={[
          { name: columnNames.time, value: <ExactTime at={createdAt} /> },
          { name: words.actor, value: <Actor actor={actor} /> },
          { name: words.object, value: <ChangedObject entry={entry} /> },
          objectId != null && { name: columnNames.id, value: <Id value={objectId} /> },
          tenant != null && { name: columnNames.tenant, value: visibleLine(tenant) },
        ]}
      />
      {before === after ? (
        <p>{words.noSettings}</p>
      ) : (
        <Diff label={words.changes} before={before} after={after} words={words} />
      )}
      {objectId != null && (
        <div className={styles.actions}>
          <Link to={paths.auditLog({ object: objectId })} isForEveryTenant={tenant !== filter.tenant}>
            {words.allObjects}
          </Link>
        </div>
      )}
    </Dialog>
  );
}

function ChangedObject({ entry }: { readonly entry: AuditRowFragment }) {
  const { isAdmin } = useViewer();
  const path = objectPath(entry, isAdmin);
  const type = visibleLine(entry.objectType);
  return path === undefined ? type : <Link to={path}>{type}</Link>;
}

function Actor({ actor }: { readonly actor: AuditRowFragment['actor'] }) {
  const { isAdmin } = useViewer();
  const text = actorInWords(actor);
  return isAdmin && actor.kind === 'API_KEY' && actor.id != null ? <Link to={paths.keys(actor.id)}>{text}</Link> : text;
}

function actorInWords({ kind, name }: AuditRowFragment['actor']): string {
  return name == null ? words.kinds[kind] : `${visibleLine(name)} (${words.kinds[kind]})`;
}

function ListedObject({ objectType, objectId }: AuditRowFragment) {
  return (
    <span className={styles.object}>
      <span>{visibleLine(objectType)}</span>
      <code>{objectId != null && <CutInMiddle text={visibleLine(objectId)} />}</code>
    </span>
  );
}
