import {
  type ASTNode,
  coerceInputValue,
  type GraphQLError,
  type GraphQLInputType,
  type GraphQLSchema,
  getVariableValues,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  type OperationDefinitionNode,
  typeFromAST,
} from 'graphql';
import { createGraphQLError } from 'graphql-yoga';

/**
 * Values of variables that the schema knows, each field and element one; what a JSON scalar has inside is not looked at.
 * graphql-js reads them several times before anything is executed, without a pause: some 20 ms for so many.
 */
export const MAX_VALUES = 10_000;
/** Errors of one operation's variables. */
const MAX_ERRORS = 20;
/** graphql-js quotes the whole value in each message; after so many characters no further message is made. */
const MAX_QUOTED_CHARACTERS = 65_536;

export type Variables = {
  readonly schema: GraphQLSchema;
  readonly operation: OperationDefinitionNode;
  readonly values: Readonly<Record<string, unknown>>;
  readonly hideSuggestions: boolean;
};

/** The problems of the variables of an operation, with the code that the same value has in a document. */
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

/** How many values there are, counted up to just beyond MAX_VALUES. */
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
      // Unknown names are errors, each of which is a value as well.
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
