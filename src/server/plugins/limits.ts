import { complexityFromQuery } from '@pothos/plugin-complexity';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLError,
  getOperationAST,
  Kind,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  OperationTypeNode,
  type Source,
  visit,
} from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import type { Context } from '../../schema/context.ts';
import { countValues, findVariableProblems, MAX_VALUES } from './check-variables.ts';
import { type CpuShares, PRICES } from '../../auth/cpu-share.ts';
import { measureOperations } from './operation-size.ts';

/** What is no token, such as comments, is kept with the document as well. Over WebSocket messages are no larger anyway. */
const MAX_CHARACTERS = 65_536;
const MAX_TOKENS = 5_000;
/** The longest sensible way, `webhookSubscriptions.edges.node.deliveries.edges.node.attempts.edges.node.….…`, is 12. */
const MAX_DEPTH = 12;
/** Each can be a statement of its own; and validation compares fields of the same name pair by pair. */
const MAX_ALIASES = 30;
const MAX_DIRECTIVES = 50;
/** Characters of an alias: it is in the answer once for each row. */
const MAX_ALIAS_LENGTH = 128;
/** Operations and fragments of a document: some rules of validation go through all fragments for each of them. */
const MAX_DEFINITIONS = 100;
/** Pairs of fields that answer under the same name, for validation to compare: some 20 ms. */
const MAX_REPETITIONS = 10_000;
/** Limit of validation errors, each of which may compare all names of the schema for a suggestion. */
const MAX_ERRORS = 20;
/**
 * Lines times fields. For each place that an error names, graphql-js counts the lines before it; beyond this, errors of
 * validation name no places.
 */
const MAX_LOCATED = 200_000;
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
export function limitOperations({ introspection }: LimitOptions, cpuShares: CpuShares): Plugin<Context> {
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
    onParse: ({ context, params: { source }, parseFn, setParseFn }) => {
      const { operation, characterOfDocument } = PRICES;
      // Yoga leaves its type open.
      cpuShares(context.viewer)?.spend(operation + String(source).length * characterOfDocument);
      // Yoga leaves the types of these functions open, and of those below.
      setParseFn((source, options): unknown => {
        const parse = (noLocation: boolean): unknown =>
          asLimit((): unknown => parseFn(source, { ...options, noLocation, maxTokens: MAX_TOKENS }));
        const document = parse(false);
        // `as`: it is what parsing makes.
        return isLocatable(source as string | Source, document as DocumentNode) ? document : parse(true);
      });
    },
    onValidate: ({ validateFn, setValidationFn, addValidationRule }) => {
      if (!introspection) addValidationRule(NoSchemaIntrospectionCustomRule);
      setValidationFn((schema, document: DocumentNode, rules): unknown => {
        // Before validation, which takes quadratic time in places.
        const problems = findSizeProblems(document);
        return problems.length > 0
          ? problems
          : validateFn(schema, document, rules, { hideSuggestions, maxErrors: MAX_ERRORS });
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

function isLocatable(source: string | Source, document: DocumentNode): boolean {
  const text = typeof source === 'string' ? source : source.body;
  let lines = 1;
  for (let index = 0; index < text.length; index += 1) {
    const code = text.charCodeAt(index);
    if (code === LINE_FEED || code === CARRIAGE_RETURN) lines += 1;
  }
  if (lines * MAX_TOKENS <= MAX_LOCATED) return true;
  let fields = 0;
  visit(document, { Field: () => void (fields += 1) });
  return lines * fields <= MAX_LOCATED;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

function findSizeProblems(document: DocumentNode): GraphQLError[] {
  const definitions = document.definitions.length;
  if (definitions > MAX_DEFINITIONS) return [limitError('definitions', { max: MAX_DEFINITIONS, actual: definitions })];
  const longest = longestAlias(document);
  if (longest > MAX_ALIAS_LENGTH) return [limitError('alias length', { max: MAX_ALIAS_LENGTH, actual: longest })];
  return measureOperations(document).flatMap(({ size, kind }) => {
    const { depth, aliases, directives, rootFields, repetitions } = size;
    const limits = [
      { limit: 'depth', max: MAX_DEPTH, actual: depth },
      { limit: 'aliases', max: MAX_ALIASES, actual: aliases },
      { limit: 'directives', max: MAX_DIRECTIVES, actual: directives },
      { limit: 'mutations', max: MAX_MUTATIONS, actual: kind === 'mutation' ? rootFields : 0 },
      { limit: 'repetitions', max: MAX_REPETITIONS, actual: repetitions },
    ];
    return limits.flatMap(({ limit, max, actual }) => (actual > max ? [limitError(limit, { max, actual })] : []));
  });
}

function longestAlias(document: DocumentNode): number {
  let longest = 0;
  visit(document, { Field: ({ alias }) => void (longest = Math.max(longest, alias?.value.length ?? 0)) });
  return longest;
}

function findCostProblems(
  { schema, document, operationName, variableValues }: ExecutionArgs,
  { hideSuggestions }: { readonly hideSuggestions: boolean },
): readonly GraphQLError[] {
  const operation = getOperationAST(document, operationName);
  // The executor says what is wrong then.
  if (operation == null) return [];
  const variables = variableValues ?? {};
  const values = countValues({ schema, operation, values: variables });
  if (values > MAX_VALUES) return [limitError('variables', { max: MAX_VALUES })];
  const problems = findVariableProblems({ schema, operation, values: variables, hideSuggestions });
  if (problems.length > 0) return problems;
  const { complexity } = complexityFromQuery(only(operation, document), { schema, variables });
  const max = operation.operation === OperationTypeNode.SUBSCRIPTION ? MAX_LIVE_COST : MAX_COST;
  return complexity > max ? [limitError('cost', { max, actual: complexity })] : [];
}

/** The library takes the first operation it finds. */
function only(operation: OperationDefinitionNode, document: DocumentNode): DocumentNode {
  const fragments = document.definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION);
  return { ...document, definitions: [operation, ...fragments] };
}
