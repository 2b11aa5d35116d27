import { useState } from 'react';
import { EventTypeListDocument, type EventTypeRowFragment } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import type { Column } from '../ui/grid.tsx';
import { JsonView } from '../ui/json-view.tsx';
import { Link } from '../ui/link.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { Segments } from '../ui/segments.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { usePages } from '../ui/use-pages.ts';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import styles from './event-types-page.module.css';
import { catalogueWords as words } from './messages.ts';
import { PutEventType } from './put-event-type.tsx';

const COLUMNS: readonly Column<EventTypeRowFragment>[] = [
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
    key: 'archived',
    header: messages.columns.status,
    width: '92px',
    from: 620,
    cell: ({ isArchived }) => (isArchived ? words.archived : words.listed),
  },
  {
    key: 'updated',
    header: words.changed,
    width: '92px',
    align: 'end',
    from: 760,
    cell: ({ updatedAt }) => <Time at={updatedAt} />,
  },
];

/** The event catalogue by name; the address has the open entry. */
export function EventTypesPage() {
  const [params, setParams] = useUrlParams();
  const { isAdmin } = useViewer();
  const [edited, setEdited] = useState<EventTypeRowFragment | 'new'>();
  const includeArchived = params.get('archived') === 'yes';
  const pages = usePages({
    query: EventTypeListDocument,
    variables: { filter: { includeArchived } },
    pageOf: (data) => data.eventTypes,
  });
  const open = pages.rows.find(({ name }) => name === params.get('type'));
  const close = () => setParams({ type: undefined });
  return (
    <>
      <PageTitle title={words.title}>
        <Segments
          label={messages.columns.status}
          value={includeArchived ? 'yes' : ''}
          onChange={(archived) => setParams({ archived })}
          options={[
            { value: '', name: words.listed },
            { value: 'yes', name: words.withArchived },
          ]}
        />
        {isAdmin && (
          <Button kind="primary" icon="plus" onClick={() => setEdited('new')}>
            {words.add}
          </Button>
        )}
      </PageTitle>
      <PagedGrid
        label={words.label}
        columns={COLUMNS}
        pages={pages}
        rowKey={({ name }) => name}
        onOpen={({ name }) => setParams({ type: name })}
        empty={<EmptyState title={words.empty}>{words.emptyHint}</EmptyState>}
      />
      {open !== undefined && edited === undefined && (
        <Dialog title={visibleLine(open.name)} onClose={close}>
          <div className={styles.details}>
            {open.description !== '' && <p>{visibleText(open.description)}</p>}
            {open.schema == null ? <p>{words.noSchema}</p> : <JsonView value={open.schema} label={words.schema} />}
            <div className={styles.actions}>
              <Link to={paths.events({ type: open.name })}>{words.events}</Link>
              {isAdmin && <Button onClick={() => setEdited(open)}>{words.edit}</Button>}
            </div>
          </div>
        </Dialog>
      )}
      {edited !== undefined && (
        <PutEventType
          initial={edited === 'new' ? undefined : edited}
          onClose={() => setEdited(undefined)}
          onSaved={() => {
            setEdited(undefined);
            pages.refresh();
          }}
        />
      )}
    </>
  );
}
