import { useMemo, useState } from 'react';
import { KeyDetailsDocument, KeyListDocument, type KeyRowFragment, RevokeKeyDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantColumns, useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Confirm } from '../ui/confirm.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Facts } from '../ui/facts.tsx';
import { type Column, TENANT_WIDTH } from '../ui/grid.tsx';
import { Id } from '../ui/id.tsx';
import { Link } from '../ui/link.tsx';
import { OpenRow } from '../ui/open-row.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { Segments } from '../ui/segments.tsx';
import { EmptyState } from '../ui/states.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { usePages } from '../ui/use-pages.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { CreateKey } from './create-key.tsx';
import styles from './keys-page.module.css';
import { keysWords as words } from './messages.ts';

const columnNames = messages.columns;
const COLUMNS: readonly Column<KeyRowFragment>[] = [
  {
    key: 'state',
    header: columnNames.status,
    width: '92px',
    cell: (row) => <State apiKey={row} />,
  },
  { key: 'name', header: words.name, width: 'minmax(100px, 1fr)', cell: ({ name }) => visibleLine(name) },
  {
    key: 'scope',
    header: words.scope,
    width: 'minmax(110px, 150px)',
    from: 420,
    cell: ({ scope }) => <code>{scope}</code>,
  },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: TENANT_WIDTH,
    from: 620,
    cell: ({ tenant }) => (tenant == null ? words.everyTenant : visibleLine(tenant)),
  },
  {
    key: 'used',
    header: words.lastUsed,
    width: '92px',
    align: 'end',
    from: 760,
    cell: ({ lastUsedAt }) => (lastUsedAt == null ? words.never : <Time at={lastUsedAt} />),
  },
  {
    key: 'created',
    header: columnNames.created,
    width: '92px',
    align: 'end',
    from: 900,
    cell: ({ createdAt }) => <Time at={createdAt} />,
  },
];

function State({ apiKey: { revokedAt } }: { readonly apiKey: KeyRowFragment }) {
  return revokedAt == null ? <Mark tone="success">{words.valid}</Mark> : <Mark tone="neutral">{words.revoked}</Mark>;
}

function revokeColumn(onRevoke: (row: KeyRowFragment) => void): Column<KeyRowFragment> {
  return {
    key: 'revoke',
    header: words.action,
    width: '72px',
    align: 'end',
    // On a phone, the details have the action.
    from: 520,
    cell: (row) =>
      row.revokedAt == null && (
        <button
          type="button"
          tabIndex={-1}
          className={styles.revoke}
          aria-label={words.revokeTitle(visibleLine(row.name))}
          onClick={() => onRevoke(row)}
        >
          {words.revoke}
        </button>
      ),
  };
}

/** The API keys of every tenant, for operators. The URL has the open key. */
export function KeysPage() {
  const [params, setParams] = useUrlParams();
  const [isCreating, setCreating] = useState(false);
  const [revoking, setRevoking] = useState<KeyRowFragment>();
  const includeRevoked = params.get('revoked') === 'yes';
  const open = params.get('key');
  const close = () => setParams({ key: undefined });
  const columns = useTenantColumns(useMemo(() => [...COLUMNS, revokeColumn(setRevoking)], []));
  const filter = { includeRevoked, ...useTenantFilter() };
  const pages = usePages({
    query: KeyListDocument,
    variables: { filter },
    pageOf: (data) => data.apiKeys,
  });
  return (
    <>
      <PageTitle title={words.title}>
        <Segments
          label={columnNames.status}
          value={includeRevoked ? 'yes' : ''}
          onChange={(revoked) => setParams({ revoked })}
          options={[
            { value: '', name: words.valid },
            { value: 'yes', name: words.withRevoked },
          ]}
        />
        <Button kind="primary" icon="plus" onClick={() => setCreating(true)}>
          {words.create}
        </Button>
      </PageTitle>
      <PagedGrid
        label={words.title}
        columns={columns}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => setParams({ key: id })}
        empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
      />
      {isCreating && (
        <CreateKey
          onClose={() => {
            setCreating(false);
            pages.refresh();
          }}
        />
      )}
      <OpenRow
        id={revoking === undefined ? open : null}
        rows={pages.rows}
        query={KeyDetailsDocument}
        rowOf={({ search }) => search.apiKey}
        words={words}
        onClose={close}
      >
        {(row) => <Details apiKey={row} onClose={close} onRevoke={() => setRevoking(row)} />}
      </OpenRow>
      {revoking !== undefined && <Revoke apiKey={revoking} onClose={() => setRevoking(undefined)} />}
    </>
  );
}

type DetailsProps = {
  readonly apiKey: KeyRowFragment;
  readonly onClose: () => void;
  readonly onRevoke: () => void;
};

function Details({ apiKey, onClose, onRevoke }: DetailsProps) {
  const { id, name, scope, tenant, createdAt, lastUsedAt, revokedAt } = apiKey;
  const filter = useTenantFilter();
  return (
    <Dialog title={visibleLine(name)} onClose={onClose}>
      <Facts
        facts={[
          { name: columnNames.status, value: <State apiKey={apiKey} /> },
          { name: words.scope, value: <code>{scope}</code> },
          { name: columnNames.tenant, value: tenant == null ? words.everyTenant : visibleLine(tenant) },
          { name: columnNames.created, value: <ExactTime at={createdAt} /> },
          { name: words.lastUsed, value: lastUsedAt == null ? words.never : <ExactTime at={lastUsedAt} /> },
          revokedAt != null && { name: words.revoked, value: <ExactTime at={revokedAt} /> },
          { name: columnNames.id, value: <Id value={id} /> },
        ]}
      />
      <div className={styles.actions}>
        <Link to={paths.auditLog({ object: id })} isForEveryTenant={tenant !== filter.tenant}>
          {words.changes}
        </Link>
        {revokedAt == null && (
          <Button kind="danger" onClick={onRevoke}>
            {words.revoke}
          </Button>
        )}
      </div>
    </Dialog>
  );
}

function Revoke({ apiKey, onClose }: { readonly apiKey: KeyRowFragment; readonly onClose: () => void }) {
  const action = useAction(RevokeKeyDocument, (data) => data.revokeApiKey);
  return (
    <Confirm
      title={words.revokeTitle(visibleLine(apiKey.name))}
      confirm={words.revoke}
      action={action}
      onClose={onClose}
      onConfirm={async () => {
        if ((await action.run({ id: apiKey.id })) !== undefined) onClose();
      }}
    >
      {words.revokeHint}
    </Confirm>
  );
}
