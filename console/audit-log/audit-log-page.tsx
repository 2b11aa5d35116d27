import { useState } from 'react';
import { AuditListDocument, type AuditRowFragment } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Diff } from '../ui/diff.tsx';
import { Facts } from '../ui/facts.tsx';
import { FilterSelect } from '../ui/filter-select.tsx';
import type { Column } from '../ui/grid.tsx';
import { Id } from '../ui/id.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { EmptyState } from '../ui/states.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { usePages } from '../ui/use-pages.ts';
import { shortened, visibleLine } from '../ui/visible-text.ts';
import styles from './audit-log-page.module.css';
import { changedNames, settingsText } from './changed-settings.ts';
import { AUDITED_MUTATIONS, auditWords as words } from './messages.ts';

const names = messages.columns;
const COLUMNS: readonly Column<AuditRowFragment>[] = [
  { key: 'time', header: names.time, width: '92px', cell: ({ createdAt }) => <Time at={createdAt} /> },
  {
    key: 'mutation',
    header: words.mutation,
    width: 'minmax(140px, 220px)',
    cell: ({ mutation }) => <code>{visibleLine(mutation)}</code>,
  },
  {
    key: 'actor',
    header: words.actor,
    width: 'minmax(100px, 1fr)',
    from: 420,
    cell: ({ actor }) => actorInWords(actor),
  },
  {
    key: 'object',
    header: words.object,
    width: 'minmax(140px, 1fr)',
    from: 760,
    cell: (row) => objectInWords(row),
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
    header: names.tenant,
    width: 'minmax(72px, 140px)',
    from: 900,
    cell: ({ tenant }) => (tenant == null ? messages.none : visibleLine(tenant)),
  },
];

/** The changes that were made with mutations, newest first; the address has the filter. */
export function AuditLogPage() {
  const [params, setParams] = useUrlParams();
  const [open, setOpen] = useState<AuditRowFragment>();
  const mutation = AUDITED_MUTATIONS.find((name) => name === params.get('mutation'));
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
        columns={COLUMNS}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={setOpen}
        empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
      />
      {open !== undefined && (
        <Entry
          entry={open}
          onClose={() => setOpen(undefined)}
          onObject={(objectId) => {
            setOpen(undefined);
            setParams({ object: objectId, mutation: undefined });
          }}
        />
      )}
    </>
  );
}

type EntryProps = {
  readonly entry: AuditRowFragment;
  readonly onClose: () => void;
  readonly onObject: (id: string) => void;
};

function Entry({ entry, onClose, onObject }: EntryProps) {
  const { mutation, actor, objectType, objectId, tenant, createdAt } = entry;
  const [before, after] = [settingsText(entry.before), settingsText(entry.after)];
  return (
    <Dialog title={visibleLine(mutation)} onClose={onClose}>
      <Facts
        facts={[
          { name: names.time, value: <ExactTime at={createdAt} /> },
          { name: words.actor, value: actorInWords(actor) },
          { name: words.object, value: visibleLine(objectType) },
          objectId != null && { name: names.id, value: <Id value={objectId} length={40} /> },
          tenant != null && { name: names.tenant, value: visibleLine(tenant) },
        ]}
      />
      {before === after ? (
        <p>{words.noSettings}</p>
      ) : (
        <Diff label={words.changes} before={before} after={after} words={words} />
      )}
      {objectId != null && (
        <div className={styles.actions}>
          <Button onClick={() => onObject(objectId)}>{words.allObjects}</Button>
        </div>
      )}
    </Dialog>
  );
}

function actorInWords({ kind, name }: AuditRowFragment['actor']): string {
  return name == null ? words.kinds[kind] : `${visibleLine(name)} (${words.kinds[kind]})`;
}

function objectInWords({ objectType, objectId }: AuditRowFragment): string {
  const type = visibleLine(objectType);
  return objectId == null ? type : `${type} ${shortened(visibleLine(objectId), 20)}`;
}
