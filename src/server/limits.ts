import { complexityFromQuery } from '@pothos/plugin-complexity';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  getOperationAST,
  getVariableValues,
  Kind,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  OperationTypeNode,
} from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import { measureOperations } from './operation-size.ts';

/** What is no token, such as comments, is kept with the document as well. Over WebSocket messages are no larger anyway. */
const MAX_CHARACTERS = 65_536;
const MAX_TOKENS = 5_000;
/** The longest sensible way, `webhookSubscriptions.edges.node.deliveries.edges.node.attempts.edges.node.….…`, is 12. */
const MAX_DEPTH = 12;
/** Each can be a statement of its own; and validation compares fields of the same name pair by pair. */
const MAX_ALIASES = 30;
const MAX_DIRECTIVES = 50;
/** Of variables; graphql-js has a limit of its own for those of validation. */
const MAX_ERRORS = 50;
/** They run one after the other, and take locks. */
const MAX_MUTATIONS = 5;
/**
 * Fields times rows, as the schema weighs them: 50 subscriptions with 50 deliveries of 10 fields each come to some
 * 30,000, a page of 250 whole attempts to 6,000; 250 times 250 of anything is more than 125,000.
 */
const MAX_COST = 100_000;
/** Of each value of a live stream, which come by the thousand. */
const MAX_LIVE_COST = 500;

/** Whoever exceeds one learns which: `LIMIT_EXCEEDED`, with `limit`, `max` and, where it is known, `actual`. */
function limitError(limit: string, { max, actual }: { readonly max: number; readonly actual?: number }): GraphQLError {
  const found = actual === undefined ? '' : `, this has ${actual}`;
  const message = `the operation exceeds the limit of ${limit}: at most ${max}${found}`;
  return createGraphQLError(message, { extensions: { code: 'LIMIT_EXCEEDED', limit, max, actual } });
}

export type LimitOptions = {
  /** Whether clients may learn what is in the schema, also by errors that suggest names. */
  readonly introspection: boolean;
};

/** Bounds what parsing, validating and executing one operation can cost, over every transport. */
export function limitOperations({ introspection }: LimitOptions): Plugin {
  const hideSuggestions = !introspection;
  const stopAtCost = (args: ExecutionArgs, stop: (result: ExecutionResult) => void) => {
    const errors = findCostProblems(args, { hideSuggestions });
    if (errors.length > 0) stop({ errors });
  };
  return {
    onParams: ({ params }) => {
      const actual = params.query?.length ?? 0;
      if (actual > MAX_CHARACTERS) throw limitError('characters', { max: MAX_CHARACTERS, actual });
    },
    onParse: ({ parseFn, setParseFn }) => {
      // Yoga leaves the types of these functions open, and of those below.
      setParseFn((source, options): unknown =>
        asLimit((): unknown => parseFn(source, { ...options, maxTokens: MAX_TOKENS })),
      );
    },
    onValidate: ({ validateFn, setValidationFn, addValidationRule }) => {
      if (!introspection) addValidationRule(NoSchemaIntrospectionCustomRule);
      setValidationFn((schema, document: DocumentNode, rules): unknown => {
        // Before validation, which takes quadratic time in places.
        const problems = findSizeProblems(document);
        return problems.length > 0 ? problems : validateFn(schema, document, rules, { hideSuggestions });
      });
    },
    onExecute: ({ args, setResultAndStopExecution }) => {
      stopAtCost(args, setResultAndStopExecution);
    },
    onSubscribe: ({ args, setResultAndStopExecution }) => {
      stopAtCost(args, setResultAndStopExecution);
    },
  };
}

function asLimit<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    // graphql-js gives no other sign of it.
    const isTooLong = error instanceof Error && error.message.includes(`${MAX_TOKENS} tokens`);
    throw isTooLong ? limitError('tokens', { max: MAX_TOKENS }) : error;
  }
}

function findSizeProblems(document: DocumentNode): GraphQLError[] {
  return measureOperations(document).flatMap(({ size, kind }) => {
    const { depth, aliases, directives, rootFields } = size;
    const limits = [
      { limit: 'depth', max: MAX_DEPTH, actual: depth },
      { limit: 'aliases', max: MAX_ALIASES, actual: aliases },
      { limit: 'directives', max: MAX_DIRECTIVES, actual: directives },
      { limit: 'mutations', max: MAX_MUTATIONS, actual: kind === 'mutation' ? rootFields : 0 },
    ];
    return limits.flatMap(({ limit, max, actual }) => (actual > max ? [limitError(limit, { max, actual })] : []));
  });
}

function findCostProblems(
  { schema, document, operationName, variableValues }: ExecutionArgs,
  { hideSuggestions }: { readonly hideSuggestions: boolean },
): readonly GraphQLError[] {
  const operation = getOperationAST(document, operationName);
  // The executor says what is wrong then.
  if (operation == null) return [];
  const variables = variableValues ?? {};
  const { errors } = getVariableValues(schema, operation.variableDefinitions ?? [], variables, {
    maxErrors: MAX_ERRORS,
    hideSuggestions,
  });
  if (errors !== undefined) return errors.map(withCode);
  const { complexity } = complexityFromQuery(only(operation, document), { schema, variables });
  const max = operation.operation === OperationTypeNode.SUBSCRIPTION ? MAX_LIVE_COST : MAX_COST;
  return complexity > max ? [limitError('cost', { max, actual: complexity })] : [];
}

/** The code that the same value has in the document: graphql-js gives errors of variables none. */
function withCode({ message, nodes = [] }: GraphQLError): GraphQLError {
  return createGraphQLError(message, { nodes, extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } });
}

/** The library takes the first operation it finds. */
function only(operation: OperationDefinitionNode, document: DocumentNode): DocumentNode {
  const fragments = document.definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION);
  return { ...document, definitions: [operation, ...fragments] };
}
