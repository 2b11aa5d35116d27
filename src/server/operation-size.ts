import {
  type DocumentNode,
  type FragmentDefinitionNode,
  Kind,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

/** How large an operation is as it stands in the document, fragments counted each time they are spread. */
export type OperationSize = {
  readonly depth: number;
  readonly aliases: number;
  readonly directives: number;
  readonly rootFields: number;
};

const EMPTY: OperationSize = { depth: 0, aliases: 0, directives: 0, rootFields: 0 };
/** graphql-js bounds the depth of introspection itself; tools ask for more of it than anybody should of data. */
const INTROSPECTION: ReadonlySet<string> = new Set(['__schema', '__type']);

type Fragments = {
  readonly definitions: ReadonlyMap<string, FragmentDefinitionNode>;
  /** Each fragment is measured once, or those that spread others twice would take exponential time. */
  readonly sizes: Map<string, OperationSize>;
};

/** Of each operation in the document, which need not be valid. */
export function measureOperations(document: DocumentNode): { readonly size: OperationSize; readonly kind: string }[] {
  const definitions = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) definitions.set(definition.name.value, definition);
  }
  const fragments = { definitions, sizes: new Map<string, OperationSize>() };
  return document.definitions.flatMap((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION) return [];
    const size = measureSelections(definition.selectionSet, fragments);
    const own = definition.directives?.length ?? 0;
    return [{ size: { ...size, directives: size.directives + own }, kind: definition.operation }];
  });
}

function measureSelections({ selections }: SelectionSetNode, fragments: Fragments): OperationSize {
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

function measureSelection(selection: SelectionNode, fragments: Fragments): OperationSize {
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

function measureFragment(name: string, fragments: Fragments): OperationSize {
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
