import { useMemo } from 'react';
import { EventTypeListDocument, type EventTypeListQuery } from '../generated/graphql.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { useUrlParams } from '../shell/use-url-params.ts';
import { type Pages, useAllPages, usePages } from '../ui/use-pages.ts';
import { isOpenGroup, paramsOf, readOpenGroups, withOpened, withToggled } from './open-groups.ts';
import { hasGroups, prunedTree, rowsOf, type TypeRow, typeMatcher, typeTree } from './type-tree.ts';

export type ListedType = EventTypeListQuery['eventTypes']['nodes'][number];
export type CatalogueRow = TypeRow<ListedType>;

export type Catalogue = {
  /** The visible rows, without those of closed groups. */
  readonly pages: Pages<CatalogueRow>;
  /** Whether the types are shown as a tree, because they have common prefixes, or as a list. */
  readonly isTree: boolean;
  /** The searched text. If it is not empty, groups cannot be closed. */
  readonly sought: string;
  /** Whether groups are open unless they were closed. */
  readonly areOpen: boolean;
  readonly toggle: (prefix: string) => void;
  readonly toggleAll: () => void;
  /** Closes the details of a type; its groups stay open. */
  readonly close: () => void;
};

/** The event types, as a tree if they have common prefixes. The URL has the filter and the open groups. */
export function useCatalogue(): Catalogue {
  const [params, setParams] = useUrlParams();
  const source = usePages({
    query: EventTypeListDocument,
    variables: { filter: { includeArchived: params.get('list') === 'archived' }, ...useTenantFilter() },
    pageOf: (data) => data.eventTypes,
    pageSize: 250,
  });
  useAllPages(source);
  const types = source.rows;
  const sought = params.get('q')?.trim() ?? '';
  const shown = params.get('type');
  const groups = readOpenGroups(params, types.length);
  const tree = useMemo(() => typeTree(types), [types]);
  const found = useMemo(() => (sought === '' ? tree : prunedTree(tree, typeMatcher(sought))), [tree, sought]);
  const rows = rowsOf(found, sought === '' ? (prefix) => isOpenGroup(groups, prefix, shown) : undefined);
  const prefixesOfShown = rows.flatMap(({ group }) =>
    group !== undefined && shown?.startsWith(group.prefix) === true ? [group.prefix] : [],
  );
  return {
    pages: { ...source, rows },
    isTree: hasGroups(tree),
    sought,
    areOpen: groups.areOpen,
    toggle: (prefix) => setParams(withToggled(groups, prefix)),
    toggleAll: () => setParams(paramsOf({ areOpen: !groups.areOpen, except: new Set() })),
    close: () => setParams({ ...withOpened(groups, prefixesOfShown), type: undefined, path: undefined }),
  };
}
