import type { ReactNode } from 'react';
import { type TypedDocumentNode, useQuery } from 'urql';
import { Dialog } from './dialog.tsx';
import { ObjectState } from './states.tsx';

type OpenRowProps<Data, Row> = {
  /** The id of the row; null while none is open. */
  readonly id: string | null;
  /** The rows of the list that were read. */
  readonly rows: readonly Row[];
  /** Reads the row by its id. */
  readonly query: TypedDocumentNode<Data, { id: string }>;
  readonly rowOf: (data: Data) => Row | null | undefined;
  /** `one` is the title of the dialog while there is no row. */
  readonly words: { readonly one: string; readonly notFound: string; readonly notFoundHint: string };
  readonly onClose: () => void;
  /** The dialog of the row. */
  readonly children: (row: Row) => ReactNode;
};

/** The row that the address names. A link can lead to one that is far down the list, so that it is read by its id. */
export function OpenRow<Data, Row extends { readonly id: string }>({ id, ...props }: OpenRowProps<Data, Row>) {
  return id === null ? null : <Opened key={id} id={id} {...props} />;
}

type OpenedProps<Data, Row> = OpenRowProps<Data, Row> & { readonly id: string };

function Opened<Data, Row extends { readonly id: string }>(props: OpenedProps<Data, Row>) {
  const { id, rows, query, rowOf, words, onClose, children } = props;
  const row = rows.find((known) => known.id === id);
  const [{ data, error, fetching }] = useQuery({ query, variables: { id }, pause: row !== undefined });
  const open = row ?? (data === undefined ? undefined : rowOf(data));
  if (open != null) return children(open);
  return (
    <Dialog title={words.one} onClose={onClose}>
      <ObjectState error={error} isLoading={fetching} title={words.notFound}>
        {words.notFoundHint}
      </ObjectState>
    </Dialog>
  );
}
