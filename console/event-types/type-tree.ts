type Named = { readonly name: string };

/** Event types below a prefix such as `order.`. A prefix of a single type is not a group. */
type Group<Entry> = {
  readonly prefix: string;
  readonly entries: readonly Entry[];
  readonly nodes: readonly Node<Entry>[];
};
type Node<Entry> = Entry | Group<Entry>;
export type TypeTree<Entry> = readonly Node<Entry>[];

/** A row of the tree. `label` is its name without the prefix of its group. */
export type TypeRow<Entry> = { readonly key: string; readonly label: string; readonly level: number } & (
  | { readonly entry: Entry; readonly group?: undefined }
  /** `isOpen` is undefined if the group cannot be closed. */
  | { readonly entry?: undefined; readonly group: GroupRow<Entry> }
);

type GroupRow<Entry> = { readonly prefix: string; readonly entries: readonly Entry[]; readonly isOpen?: boolean };

/** Event types by the parts of their names, sorted. A prefix that has only one group below it is shown with that group. */
export function typeTree<Entry extends Named>(entries: readonly Entry[]): TypeTree<Entry> {
  return nodesOf([...entries].sort(byName), '');
}

function nodesOf<Entry extends Named>(entries: readonly Entry[], prefix: string): TypeTree<Entry> {
  const parts = new Map<string, Entry[]>();
  for (const entry of entries) {
    const part = entry.name.slice(prefix.length).split('.', 1)[0] ?? '';
    const members = parts.get(part);
    if (members === undefined) parts.set(part, [entry]);
    else members.push(entry);
  }
  return [...parts].flatMap(([part, members]): Node<Entry>[] => {
    const own = prefix + part;
    const exact = members.filter(({ name }) => name === own);
    const below = members.filter(({ name }) => name !== own);
    if (below.length < 2) return [...exact, ...below];
    const nodes = nodesOf(below, `${own}.`);
    const [first] = nodes;
    if (first !== undefined && nodes.length === 1 && isGroup(first)) return [...exact, first];
    return [...exact, { prefix: `${own}.`, entries: below, nodes }];
  });
}

/** The tree with only the matching types and their groups. */
export function prunedTree<Entry extends Named>(
  tree: TypeTree<Entry>,
  matches: (entry: Entry) => boolean,
): TypeTree<Entry> {
  return tree.flatMap((node): Node<Entry>[] => {
    if (!isGroup(node)) return matches(node) ? [node] : [];
    const entries = node.entries.filter(matches);
    return entries.length === 0 ? [] : [{ ...node, entries, nodes: prunedTree(node.nodes, matches) }];
  });
}

/** Whether the type has the text in its name or its description; a text such as `order.*` is a prefix of the name. */
export function typeMatcher(text: string): (entry: Named & { readonly description: string }) => boolean {
  const sought = text.trim().toLowerCase();
  if (sought.endsWith('.*')) return ({ name }) => name.toLowerCase().startsWith(sought.slice(0, -1));
  return ({ name, description }) => `${name}\n${description}`.toLowerCase().includes(sought);
}

/** The visible rows: all types and groups that are not in a closed group. Without `isOpen`, no group can be closed. */
export function rowsOf<Entry extends Named>(
  tree: TypeTree<Entry>,
  isOpen?: (prefix: string) => boolean,
): readonly TypeRow<Entry>[] {
  const rows: TypeRow<Entry>[] = [];
  const add = (nodes: TypeTree<Entry>, above: string, level: number): void => {
    for (const node of nodes) {
      if (isGroup(node)) {
        const { prefix, entries } = node;
        const open = isOpen?.(prefix);
        const group = { prefix, entries, ...(open !== undefined && { isOpen: open }) };
        rows.push({ key: `${prefix}*`, label: `${prefix.slice(above.length)}*`, level, group });
        if (open !== false) add(node.nodes, prefix, level + 1);
      } else rows.push({ key: node.name, label: node.name.slice(above.length), level, entry: node });
    }
  };
  add(tree, '', 1);
  return rows;
}

/** Whether the tree has a group: without one it is a list. */
export function hasGroups<Entry extends Named>(tree: TypeTree<Entry>): boolean {
  return tree.some(isGroup);
}

function isGroup<Entry extends Named>(node: Node<Entry>): node is Group<Entry> {
  return 'prefix' in node;
}

function byName({ name: one }: Named, { name: other }: Named): number {
  return one === other ? 0 : one < other ? -1 : 1;
}
