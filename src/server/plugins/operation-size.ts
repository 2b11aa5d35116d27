import {
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

/** How large a selection is as it stands in the document, fragments counted each time they are spread. */
type SelectionSize = {
  readonly depth: number;
  readonly aliases: number;
  readonly directives: number;
  readonly rootFields: number;
};

export type OperationSize = SelectionSize & {
  /** Pairs of fields that answer under the same name: validation compares each pair. At most MAX_COUNTED, and counted no further. */
  readonly repetitions: number;
};

const EMPTY: SelectionSize = { depth: 0, aliases: 0, directives: 0, rootFields: 0 };
/** graphql-js bounds the depth of introspection itself; tools ask for more of it than anybody should of data. */
const INTROSPECTION: ReadonlySet<string> = new Set(['__schema', '__type']);

type Fragments = {
  readonly definitions: ReadonlyMap<string, FragmentDefinitionNode>;
  /** Each fragment is measured once, or those that spread others twice would take exponential time. */
  readonly sizes: Map<string, SelectionSize>;
};

/** Of each operation in the document, which need not be valid. */
export function measureOperations(document: DocumentNode): { readonly size: OperationSize; readonly kind: string }[] {
  const definitions = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) definitions.set(definition.name.value, definition);
  }
  const fragments = { definitions, sizes: new Map<string, SelectionSize>() };
  return document.definitions.flatMap((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION) return [];
    const size = measureSelections(definition.selectionSet, fragments);
    const own = definition.directives?.length ?? 0;
    const repetitions = countRepetitions(definition.selectionSet, definitions);
    return [{ size: { ...size, directives: size.directives + own, repetitions }, kind: definition.operation }];
  });
}

/** Limit of fields and of pairs. Fragments can make much of a short document. */
const MAX_COUNTED = 50_000;
/** Deeper than any operation may be; fragments that spread themselves have no end. */
const MAX_LEVELS = 20;

/** Goes through an operation as its execution would, every name once for all fields that answer under it. */
function countRepetitions(
  selectionSet: SelectionSetNode,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): number {
  let visited = 0;
  let pairs = 0;
  const visit = (selectionSets: readonly SelectionSetNode[], level: number): void => {
    const groups = new Map<string, { count: number; readonly inside: SelectionSetNode[] }>();
    const spread = new Set<string>();
    const collect = ({ selections }: SelectionSetNode): void => {
      for (const selection of selections) {
        visited += 1;
        if (visited > MAX_COUNTED) return;
        if (selection.kind === Kind.INLINE_FRAGMENT) {
          collect(selection.selectionSet);
        } else if (selection.kind === Kind.FRAGMENT_SPREAD) {
          const name = selection.name.value;
          const fragment = fragments.get(name);
          if (fragment === undefined || spread.has(name)) continue;
          spread.add(name);
          collect(fragment.selectionSet);
        } else {
          const name = (selection.alias ?? selection.name).value;
          const group = groups.get(name) ?? { count: 0, inside: [] };
          groups.set(name, group);
          pairs += group.count;
          group.count += 1;
          if (selection.selectionSet !== undefined) group.inside.push(selection.selectionSet);
        }
      }
    };
    for (const each of selectionSets) collect(each);
    for (const { inside } of groups.values()) {
      if (inside.length > 0 && level < MAX_LEVELS && Math.max(visited, pairs) <= MAX_COUNTED) visit(inside, level + 1);
    }
  };
  visit([selectionSet], 1);
  return visited > MAX_COUNTED ? MAX_COUNTED : Math.min(pairs, MAX_COUNTED);
}

function measureSelections({ selections }: SelectionSetNode, fragments: Fragments): SelectionSize {
  return selections.reduce((sum, selection) => {
    const size = measureSelection(selection, fragments);
    return {
      depth: Math.max(sum.depth, size.depth),
      aliases: sum.aliases + size.aliases,
      directives: sum.directives + size.directives + (selection.directives?.length ?? 0),
      rootFields: sum.rootFields + size.rootFields,
    };
  }, EMPTY);
}

function measureSelection(selection: SelectionNode, fragments: Fragments): SelectionSize {
  if (selection.kind === Kind.FRAGMENT_SPREAD) return measureFragment(selection.name.value, fragments);
  if (selection.kind === Kind.INLINE_FRAGMENT) return measureSelections(selection.selectionSet, fragments);
  const { selectionSet, name, alias } = selection;
  const inside = selectionSet === undefined ? EMPTY : measureSelections(selectionSet, fragments);
  return {
    depth: 1 + (INTROSPECTION.has(name.value) ? 0 : inside.depth),
    aliases: inside.aliases + (alias === undefined ? 0 : 1),
    directives: inside.directives,
    rootFields: 1,
  };
}

function measureFragment(name: string, fragments: Fragments): SelectionSize {
  const known = fragments.sizes.get(name);
  if (known !== undefined) return known;
  const definition = fragments.definitions.get(name);
  if (definition === undefined) return EMPTY;
  // One that spreads itself finds this; validation refuses it afterwards.
  fragments.sizes.set(name, EMPTY);
  const size = measureSelections(definition.selectionSet, fragments);
  fragments.sizes.set(name, size);
  return size;
}
