import {
  type DocumentNode,
  type GraphQLError,
  Kind,
  OperationTypeNode,
  type SelectionNode,
  type SelectionSetNode,
  type Source,
} from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';

/** An event's data may be nested 1,000 levels deep; the fields around it are bounded by the limit `depth`. */
const MAX_NESTING = 1_024;
/** Everything in a document that can contain a bracket that does not nest, and the brackets. */
const TOKENS = /"""(?:\\"""|[^])*?(?:"""|$)|"(?:\\.|[^"\\\n\r])*"?|#[^\n\r]*|[{}[\]()]/g;

/** Rules for documents that graphql-js 16 accepts, over every transport. */
export function checkDocuments(): Plugin {
  return {
    onParse: ({ parseFn, setParseFn }) => {
      // Yoga leaves the types of these functions open.
      setParseFn((source: string | Source, options): unknown => {
        checkNesting(typeof source === 'string' ? source : source.body);
        return parseFn(source, options);
      });
    },
    onValidate: ({ validateFn, setValidationFn }) => {
      setValidationFn((schema, document: DocumentNode, ...rest): unknown => {
        const problems = findConditions(document);
        return problems.length > 0 ? problems : validateFn(schema, document, ...rest);
      });
    },
  };
}

/** graphql-js parses recursively: without this, a deep literal, type or selection uses up the stack. */
function checkNesting(document: string): void {
  let depth = 0;
  for (const [token] of document.matchAll(TOKENS)) {
    if (token === '{' || token === '[' || token === '(') depth += 1;
    else if (token === '}' || token === ']' || token === ')') depth -= 1;
    if (depth <= MAX_NESTING) continue;
    const message = `the document is nested deeper than ${MAX_NESTING} levels`;
    throw createGraphQLError(message, { extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } });
  }
}

/**
 * The root field of a subscription must not depend on a condition (GraphQL of September 2025, 5.2.4.1): without it there
 * would be a stream of nothing. graphql-js 16 has no such rule, and throws where the condition is a variable.
 */
function findConditions({ definitions }: DocumentNode): GraphQLError[] {
  const fragments = new Map<string, SelectionSetNode>();
  for (const definition of definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition.selectionSet);
  }
  const roots = definitions.flatMap((definition) =>
    definition.kind === Kind.OPERATION_DEFINITION && definition.operation === OperationTypeNode.SUBSCRIPTION
      ? rootSelections(definition.selectionSet, fragments)
      : [],
  );
  const nodes = roots
    .flatMap(({ directives = [] }) => directives)
    .filter(({ name }) => name.value === 'skip' || name.value === 'include');
  if (nodes.length === 0) return [];
  return [createGraphQLError('the root field of a subscription must not have @skip or @include', { nodes })];
}

/** The root fields, and the fragments that they are in. Takes the fragments out: one may be spread many times, or by itself. */
function rootSelections({ selections }: SelectionSetNode, fragments: Map<string, SelectionSetNode>): SelectionNode[] {
  return selections.flatMap((selection) => {
    if (selection.kind === Kind.FIELD) return [selection];
    let inside: SelectionSetNode | undefined;
    if (selection.kind === Kind.INLINE_FRAGMENT) {
      inside = selection.selectionSet;
    } else {
      inside = fragments.get(selection.name.value);
      fragments.delete(selection.name.value);
    }
    return inside === undefined ? [selection] : [selection, ...rootSelections(inside, fragments)];
  });
}
