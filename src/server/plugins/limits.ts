import { complexityFromQuery } from '@pothos/plugin-complexity';
import {
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type FragmentDefinitionNode,
  type GraphQLError,
  getOperationAST,
  Kind,
  Lexer,
  NoSchemaIntrospectionCustomRule,
  type OperationDefinitionNode,
  OperationTypeNode,
  type SelectionNode,
  type SelectionSetNode,
  Source,
  TokenKind,
  visit,
} from 'graphql';
import { createGraphQLError, type Plugin } from 'graphql-yoga';
import { CPU_ESTIMATES_MS, type CpuShares } from '../../auth/quota.ts';
import type { Context } from '../../schema/context.ts';
import { countValues, findVariableProblems, MAX_VALUES } from './validation.ts';

/**
 * Maximum length of a document. Comments are no tokens but are kept with the document. WebSocket messages have the same
 * limit.
 */
const MAX_CHARACTERS = 65_536;
const MAX_TOKENS = 5_000;
/** The longest sensible path, `webhookSubscriptions.edges.node.deliveries.edges.node.attempts.edges.node.….…`, is 12. */
const MAX_DEPTH = 12;
/** Maximum aliases. Each alias can cause a separate statement, and validation compares fields of the same name in pairs. */
const MAX_ALIASES = 30;
const MAX_DIRECTIVES = 50;
/** Maximum characters of an alias, which the response repeats for each row. */
const MAX_ALIAS_LENGTH = 128;
/** Maximum operations and fragments of a document: some validation rules visit all fragments for each of them. */
const MAX_DEFINITIONS = 100;
/** Maximum pairs of fields with the same response name. Validation compares each pair: about 20 ms. */
const MAX_REPETITIONS = 10_000;
/** Maximum validation errors. Each may compare all names of the schema for a suggestion. */
const MAX_ERRORS = 20;
/**
 * Maximum of lines times fields. graphql-js counts the preceding lines for each location of an error; beyond this limit,
 * validation errors have no locations.
 */
const MAX_LOCATED = 200_000;
/** Maximum mutations per operation: they run one after the other and take locks. */
const MAX_MUTATIONS = 5;
/**
 * Maximum cost of an operation: fields times rows, as the schema weighs them. 50 subscriptions with 50 deliveries of 10
 * fields each cost some 30,000, a page of 250 whole attempts costs 6,000, and 250 times 250 rows of any type more than
 * 125,000.
 */
const MAX_COST = 100_000;
/** Maximum cost of one value of a live stream, which may have thousands of values. */
const MAX_LIVE_COST = 500;

/** Error `LIMIT_EXCEEDED` with `limit`, `max` and, if known, `actual`. */
function limitError(limit: string, { max, actual }: { readonly max: number; readonly actual?: number }): GraphQLError {
  const found = actual === undefined ? '' : `, this has ${actual}`;
  const message = `the operation exceeds the limit of ${limit}: at most ${max}${found}`;
  return createGraphQLError(message, { extensions: { code: 'LIMIT_EXCEEDED', limit, max, actual } });
}

type LimitOptions = {
  /** Whether clients may read the schema, also through errors that suggest names. */
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
    onParse: ({ context, params: { source }, parseFn, setParseFn }) => {
      // Yoga leaves its type open.
      const actual = textOf(source as string | Source).length;
      if (actual > MAX_CHARACTERS) throw limitError('characters', { max: MAX_CHARACTERS, actual });
      const { operation, characterOfDocument } = CPU_ESTIMATES_MS;
      cpuShares(context.viewer)?.spend(operation + actual * characterOfDocument);
      // Yoga leaves the types of these functions open, and of those below.
      setParseFn((source, options): unknown => {
        const parse = (noLocation: boolean): unknown =>
          asLimit(source as string | Source, (): unknown =>
            parseFn(source, { ...options, noLocation, maxTokens: MAX_TOKENS }),
          );
        const document = parse(false);
        // `as`: the result of parsing.
        return isLocatable(source as string | Source, document as DocumentNode) ? document : parse(true);
      });
    },
    onValidate: ({ validateFn, setValidationFn, addValidationRule }) => {
      if (!introspection) addValidationRule(NoSchemaIntrospectionCustomRule);
      setValidationFn((schema, document: DocumentNode, rules): unknown => {
        // Before validation, parts of which take quadratic time.
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

function asLimit<T>(source: string | Source, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    // graphql-js throws the same kind of error for a document that is too long and for a syntax error.
    throw hasTooManyTokens(source) ? limitError('tokens', { max: MAX_TOKENS }) : error;
  }
}

function hasTooManyTokens(source: string | Source): boolean {
  const lexer = new Lexer(typeof source === 'string' ? new Source(source) : source);
  try {
    for (let count = 0; count <= MAX_TOKENS; count += 1) {
      if (lexer.advance().kind === TokenKind.EOF) return false;
    }
    return true;
  } catch {
    return false;
  }
}

function textOf(source: string | Source): string {
  return typeof source === 'string' ? source : source.body;
}

function isLocatable(source: string | Source, document: DocumentNode): boolean {
  const text = textOf(source);
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
  // The executor reports the missing operation.
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

/** complexityFromQuery uses the first operation of the document. */
function only(operation: OperationDefinitionNode, document: DocumentNode): DocumentNode {
  const fragments = document.definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION);
  return { ...document, definitions: [operation, ...fragments] };
}

/** Size of a selection; a fragment counts each time it is spread. */
type SelectionSize = {
  readonly depth: number;
  readonly aliases: number;
  readonly directives: number;
  readonly rootFields: number;
};

type OperationSize = SelectionSize & {
  /** Pairs of fields with the same response name, which validation compares. Counted up to MAX_COUNTED. */
  readonly repetitions: number;
};

const EMPTY: SelectionSize = { depth: 0, aliases: 0, directives: 0, rootFields: 0 };
/** Exempt from the depth limit: tools use deep introspection queries, and graphql-js bounds them itself. */
const INTROSPECTION: ReadonlySet<string> = new Set(['__schema', '__type']);

type Fragments = {
  readonly definitions: ReadonlyMap<string, FragmentDefinitionNode>;
  /** Each fragment is measured once: nested fragments that are spread twice would take exponential time. */
  readonly sizes: Map<string, SelectionSize>;
};

/** Measures each operation of a document, which may be invalid. */
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

/** Maximum fields and pairs counted. Fragments can expand a short document enormously. */
const MAX_COUNTED = 50_000;
/** Deeper than any permitted operation; ends the recursion of fragments that spread themselves. */
const MAX_LEVELS = 20;

/** Traverses an operation as its execution would, with all fields of one response name merged. */
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
  // Ends the recursion of a fragment that spreads itself; validation rejects it afterwards.
  fragments.sizes.set(name, EMPTY);
  const size = measureSelections(definition.selectionSet, fragments);
  fragments.sizes.set(name, size);
  return size;
}
