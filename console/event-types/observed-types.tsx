import type { CombinedError } from 'urql';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Button } from '../ui/button.tsx';
import { Link } from '../ui/link.tsx';
import { EmptyState, ErrorState, SkeletonRows } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { catalogueWords as words } from './messages.ts';

type ObservedTypesProps = {
  /** Undefined until they are read. */
  readonly types: readonly string[] | undefined;
  readonly error: CombinedError | undefined;
  /** Undefined if the viewer cannot change the catalogue. */
  readonly onAdd: ((name: string) => void) | undefined;
};

/** Published types that are not in the catalogue, for example new or misspelled ones. */
export function ObservedTypes({ types, error, onAdd }: ObservedTypesProps) {
  if (types === undefined) return error === undefined ? <SkeletonRows /> : <ErrorState error={error} />;
  if (types.length === 0) return <EmptyState title={words.noUnlisted}>{words.noUnlistedHint}</EmptyState>;
  return (
    <Table
      label={words.unlistedLabel}
      head={[messages.columns.type, messages.navigation.events, ...(onAdd === undefined ? [] : [words.title])]}
      grow={messages.columns.type}
      rows={types.map((name) => ({
        key: name,
        cells: [
          <code key="name">{visibleLine(name)}</code>,
          <Link key="events" to={paths.events({ type: name })} aria-label={words.eventsOf(visibleLine(name))}>
            {messages.navigation.events}
          </Link>,
          ...(onAdd === undefined
            ? []
            : [
                <Button
                  key="add"
                  kind="quiet"
                  icon="plus"
                  aria-label={words.addType(visibleLine(name))}
                  onClick={() => onAdd(name)}
                >
                  {words.addThis}
                </Button>,
              ]),
        ],
      }))}
    />
  );
}
