import {
  type ASTNode,
  coerceInputValue,
  type DocumentNode,
  type GraphQLError,
  type GraphQLInputType,
  type GraphQLSchema,
  getVariableValues,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionNode,
  type SelectionSetNode,
  type Source,
  typeFromAST,
} from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';

/** An event's data may be nested 1,000 levels deep; the fields around it are bounded by the limit `depth`. */
const MAX_NESTING = 1_024;
/** Brackets, and the tokens whose text may contain brackets: strings and comments. */
const TOKENS = /"""(?:\\"""|[^])*?(?:"""|$)|"(?:\\.|[^"\\\n\r])*"?|#[^\n\r]*|[{}[\]()]/g;

/** Validation that graphql-js 16 lacks, over every transport. */
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
 * The root field of a subscription must not depend on a condition (GraphQL of September 2025, 5.2.4.1): otherwise the
 * stream has no values. graphql-js 16 has no such rule, and throws if the condition is a variable.
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

/** The root fields and their fragments. Removes visited fragments: one may be spread many times, or spread itself. */
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

/**
 * Maximum values in an operation's variables; each field and element counts, the content of JSON scalars does not.
 * graphql-js reads them several times synchronously before execution: about 20 ms for this number.
 */
export const MAX_VALUES = 10_000;
/** Maximum errors of one operation's variables. */
const MAX_ERRORS = 20;
/** Maximum characters of all messages together: graphql-js quotes the whole value in each message. */
const MAX_QUOTED_CHARACTERS = 65_536;

type Variables = {
  readonly schema: GraphQLSchema;
  readonly operation: OperationDefinitionNode;
  readonly values: Readonly<Record<string, unknown>>;
  readonly hideSuggestions: boolean;
};

/** Problems of an operation's variables, with the code of an invalid value in a document. */
export function findVariableProblems({ schema, operation, values, hideSuggestions }: Variables) {
  const problems = findCoercionProblems({ schema, operation, values, hideSuggestions });
  if (problems.length > 0) return problems;
  // Missing and null variables; the messages name no value.
  const { errors = [] } = getVariableValues(schema, operation.variableDefinitions ?? [], values, {
    maxErrors: MAX_ERRORS,
    hideSuggestions,
  });
  return errors.map(({ message, nodes = [] }) => invalid(shorten(message), nodes));
}

function findCoercionProblems({ schema, operation, values, hideSuggestions }: Variables) {
  const problems: GraphQLError[] = [];
  let quoted = 0;
  for (const node of operation.variableDefinitions ?? []) {
    const name = node.variable.name.value;
    const type = typeFromAST(schema, node.type);
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (!isInputType(type) || value == null) continue;
    try {
      const onError = (
        path: readonly (string | number)[],
        _value: unknown,
        { message }: { readonly message: string },
      ) => {
        const place = [name, ...path].join('.');
        problems.push(invalid(`Variable "$${shorten(place)}" has an invalid value: ${shorten(message)}`, [node]));
        quoted += message.length;
        if (problems.length >= MAX_ERRORS || quoted > MAX_QUOTED_CHARACTERS) throw new EnoughError();
      };
      coerceInputValue(value, type, onError, hideSuggestions);
    } catch (error) {
      if (error instanceof EnoughError) break;
      throw error;
    }
  }
  return problems;
}

class EnoughError extends Error {}

function invalid(message: string, nodes: readonly ASTNode[]): GraphQLError {
  return createGraphQLError(message, { nodes, extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } });
}

function shorten(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300).toWellFormed()}…` : text;
}

/** Counts values, up to just beyond MAX_VALUES. */
export function countValues({ schema, operation, values }: Omit<Variables, 'hideSuggestions'>): number {
  let count = 0;
  const visit = (value: unknown, given: GraphQLInputType): void => {
    count += 1;
    const type = isNonNullType(given) ? given.ofType : given;
    if (count > MAX_VALUES || typeof value !== 'object' || value === null) return;
    if (isListType(type)) {
      if (!Array.isArray(value)) visit(value, type.ofType);
      else
        for (let index = 0; index < value.length && count <= MAX_VALUES; index += 1) visit(value[index], type.ofType);
    } else if (isInputObjectType(type)) {
      const fields = type.getFields();
      // An unknown name becomes an error, which counts as a value.
      for (const [name, member] of Object.entries(value)) {
        const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
        if (field === undefined) count += 1;
        else visit(member, field.type);
        if (count > MAX_VALUES) return;
      }
    }
  };
  for (const { variable, type: node } of operation.variableDefinitions ?? []) {
    const type = typeFromAST(schema, node);
    const name = variable.name.value;
    if (isInputType(type) && Object.hasOwn(values, name)) visit(values[name], type);
  }
  return count;
}
