import { useState } from 'react';
import {
  EraseTenantDocument,
  ErasureDetailsDocument,
  ErasureListDocument,
  type ErasureRowFragment,
  ErasureRowsDocument,
  type JobFilter,
} from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Facts } from '../ui/facts.tsx';
import { Form, FormButtons, TextField } from '../ui/field.tsx';
import { count } from '../ui/format.ts';
import type { Column } from '../ui/grid.tsx';
import { Id } from '../ui/id.tsx';
import { OpenRow } from '../ui/open-row.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { EmptyState } from '../ui/states.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { useForm } from '../ui/use-form.ts';
import { liveRows, usePages } from '../ui/use-pages.ts';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import styles from './erasures-page.module.css';
import { erasuresWords as words } from './messages.ts';

const ERASURES: Pick<JobFilter, 'kinds'> = { kinds: ['ERASURE'] };

const columnNames = messages.columns;
const COLUMNS: readonly Column<ErasureRowFragment>[] = [
  {
    key: 'created',
    header: columnNames.created,
    width: '92px',
    from: 360,
    cell: ({ createdAt }) => <Time at={createdAt} />,
  },
  { key: 'status', header: columnNames.status, width: '112px', cell: ({ status }) => <Status status={status} /> },
  {
    key: 'tenant',
    header: columnNames.tenant,
    width: 'minmax(88px, 1fr)',
    cell: ({ tenant }) => <code>{visibleLine(tenant)}</code>,
  },
  {
    key: 'rows',
    header: words.rows,
    width: '104px',
    align: 'end',
    from: 480,
    cell: ({ deletedRowCount }) => count(deletedRowCount),
  },
  {
    key: 'messages',
    header: words.jetStream,
    width: '104px',
    align: 'end',
    from: 600,
    cell: ({ deletedMessageCount }) => count(deletedMessageCount),
  },
  {
    key: 'ended',
    header: words.ended,
    width: '92px',
    align: 'end',
    from: 700,
    cell: ({ completedAt }) => (completedAt == null ? messages.none : <Time at={completedAt} />),
  },
];

function Status({ status }: Pick<ErasureRowFragment, 'status'>) {
  return <Mark tone={status === 'RUNNING' ? 'waiting' : 'success'}>{words.statuses[status]}</Mark>;
}

/** The erasures of tenants, newest first, for operators. The URL has the open one. */
export function ErasuresPage() {
  const filter = useTenantFilter();
  const [params, setParams] = useUrlParams();
  const [isErasing, setErasing] = useState(false);
  const open = params.get('erasure');
  const close = () => setParams({ erasure: undefined });
  const pages = usePages({
    query: ErasureListDocument,
    variables: { filter },
    pageOf: (data) => data.erasures,
    live: liveRows({
      document: ErasureRowsDocument,
      filter: { ...filter, ...ERASURES },
      rowOf: ({ jobChanges }) => jobChanges.erasure,
      keyOf: ({ id }) => id,
      orderKeyOf: ({ createdAt }) => createdAt,
    }),
  });
  return (
    <>
      <PageTitle title={words.title}>
        <Button kind="danger" onClick={() => setErasing(true)}>
          {words.erase}
        </Button>
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={COLUMNS}
        pages={pages}
        rowKey={({ id }) => id}
        onOpen={({ id }) => setParams({ erasure: id })}
        empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
      />
      <OpenRow
        id={open}
        rows={pages.rows}
        query={ErasureDetailsDocument}
        rowOf={(data) => data.erasure}
        words={words}
        onClose={close}
      >
        {(erasure) => <Details erasure={erasure} onClose={close} />}
      </OpenRow>
      {isErasing && <EraseTenant tenant={filter.tenant ?? ''} onClose={() => setErasing(false)} />}
    </>
  );
}

function Details({ erasure, onClose }: { readonly erasure: ErasureRowFragment; readonly onClose: () => void }) {
  const { id, tenant, status, createdAt, completedAt, deletedRowCount, deletedMessageCount, remains } = erasure;
  return (
    <Dialog title={visibleLine(tenant)} onClose={onClose}>
      <Facts
        facts={[
          { name: columnNames.status, value: <Status status={status} /> },
          { name: columnNames.created, value: <ExactTime at={createdAt} /> },
          completedAt != null && { name: words.ended, value: <ExactTime at={completedAt} /> },
          { name: words.rows, value: count(deletedRowCount) },
          { name: words.jetStream, value: count(deletedMessageCount) },
          { name: columnNames.id, value: <Id value={id} /> },
        ]}
      />
      <div>
        <h3>{words.remains}</h3>
        <ul className={styles.remains}>
          {remains.map((each) => (
            <li key={each}>{visibleText(each)}</li>
          ))}
        </ul>
      </div>
    </Dialog>
  );
}

type EraseTenantProps = { readonly tenant: string; readonly onClose: () => void };

/** The name is typed twice: an erasure cannot be undone. */
function EraseTenant({ tenant: initial, onClose }: EraseTenantProps) {
  const action = useAction(EraseTenantDocument, (data) => data.eraseTenant);
  const { values, field, state } = useForm({ tenant: initial, again: '' }, action);
  const name = values.tenant.trim();
  const isDisabled = action.isRunning || name === '' || values.again.trim() !== name;
  const erase = async () => {
    if ((await action.run({ tenant: name })) !== undefined) onClose();
  };
  return (
    <Dialog title={words.erase} onClose={onClose}>
      <Form
        form={state}
        onSubmit={erase}
        actions={<FormButtons submit={words.confirm} isDisabled={isDisabled} kind="danger" onDismiss={onClose} />}
      >
        <p>{words.eraseHint}</p>
        <TextField {...field('tenant')} label={words.tenant} />
        <TextField {...field('again')} label={words.again} />
      </Form>
    </Dialog>
  );
}
