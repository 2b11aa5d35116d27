import type { ReactNode } from 'react';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { Button } from '../ui/button.tsx';
import { count } from '../ui/format.ts';
import type { Column } from '../ui/grid.tsx';
import { Icon } from '../ui/icons.tsx';
import { Mark } from '../ui/outcome.tsx';
import { PagedGrid } from '../ui/paged-grid.tsx';
import { EmptyState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { catalogueWords as words } from './messages.ts';
import styles from './type-grid.module.css';
import type { Catalogue, ListedType, CatalogueRow as Row } from './use-catalogue.ts';

/** Maximum levels of indentation, because names on deeper levels need the space. */
const INDENTED_LEVELS = 6;

const COLUMNS: readonly Column<Row>[] = [
  { key: 'name', header: messages.columns.type, width: 'minmax(140px, 1.2fr)', cell: (row) => <Name row={row} /> },
  {
    key: 'description',
    header: words.description,
    width: 'minmax(120px, 1.4fr)',
    from: 520,
    cell: ofEntry(({ description }) => visibleLine(description)),
  },
  {
    key: 'schema',
    header: words.schema,
    width: '88px',
    from: 340,
    cell: ofEntry(({ hasSchema }) =>
      hasSchema ? <Mark tone="success">{words.checked}</Mark> : <Mark tone="neutral">{words.anyData}</Mark>,
    ),
  },
  {
    key: 'subscriptions',
    header: words.subscriptions,
    width: '96px',
    align: 'end',
    from: 620,
    cell: ofEntry(({ subscriptionCount }) => (
      <span title={words.subscriptionsHint}>
        {subscriptionCount == null ? messages.none : count(subscriptionCount)}
      </span>
    )),
  },
  {
    key: 'last',
    header: words.lastEvent,
    width: '92px',
    align: 'end',
    from: 420,
    cell: ({ entry, group }) => {
      const last = entry === undefined ? latestOf(group.entries) : entry.lastEventAt;
      return last == null ? messages.none : <Time at={last} />;
    },
  },
  {
    key: 'archived',
    header: messages.columns.status,
    width: '72px',
    from: 760,
    cell: ofEntry(({ isArchived }) => (isArchived ? words.archived : words.listed)),
  },
  {
    key: 'updated',
    header: words.changed,
    width: '92px',
    align: 'end',
    from: 900,
    cell: ofEntry(({ updatedAt }) => <Time at={updatedAt} />),
  },
];

/** A cell that is empty for groups. */
function ofEntry(cell: (entry: ListedType) => ReactNode): (row: Row) => ReactNode {
  return ({ entry }) => (entry === undefined ? null : cell(entry));
}

function latestOf(entries: readonly ListedType[]): string | undefined {
  return entries
    .flatMap(({ lastEventAt }) => lastEventAt ?? [])
    .sort()
    .at(-1);
}

function Name({ row: { level, label, entry, group } }: { readonly row: Row }) {
  const indent = { paddingLeft: (Math.min(level, INDENTED_LEVELS) - 1) * 16 };
  if (group === undefined) {
    return (
      <span className={styles.entry} style={indent} title={entry.name}>
        <code>{visibleLine(label)}</code>
      </span>
    );
  }
  return (
    <span className={styles.group} style={indent} title={`${group.prefix}*`}>
      {group.isOpen !== undefined && <Icon name={group.isOpen ? 'down' : 'chevron'} size={12} />}
      <code>{visibleLine(label)}</code>
      <span className={styles.count}>{words.types(group.entries.length)}</span>
    </span>
  );
}

/** A button that opens or closes all groups. Not shown without groups and during a search. */
export function GroupsButton({ catalogue }: { readonly catalogue: Catalogue }) {
  const { isTree, sought, areOpen, toggleAll } = catalogue;
  if (!isTree || sought !== '') return null;
  return (
    <Button kind="quiet" onClick={toggleAll}>
      {areOpen ? words.closeAll : words.openAll}
    </Button>
  );
}

type TypeGridProps = {
  readonly catalogue: Catalogue;
  readonly openName: string | null;
  readonly onOpen: (name: string) => void;
};

/** The event types, with a row for each group of them. */
export function TypeGrid({ catalogue, openName, onOpen }: TypeGridProps) {
  const { pages, isTree, sought, toggle } = catalogue;
  const { isAdmin } = useViewer();
  return (
    <PagedGrid
      label={words.label}
      columns={COLUMNS}
      pages={pages}
      rowKey={({ key }) => key}
      openKey={openName ?? undefined}
      branches={
        isTree
          ? {
              levelOf: ({ level }) => level,
              isOpen: ({ group }) => group?.isOpen,
              toggle: ({ group }) => group !== undefined && toggle(group.prefix),
            }
          : undefined
      }
      onOpen={({ entry, group }) => {
        if (entry !== undefined) onOpen(entry.name);
        else if (group.isOpen !== undefined) toggle(group.prefix);
      }}
      empty={
        sought === '' ? (
          <EmptyState title={words.empty}>
            {words.emptyHint} {isAdmin ? words.addHint : words.operatorsAdd}
          </EmptyState>
        ) : (
          <EmptyState title={messages.noMatch} />
        )
      }
    />
  );
}
