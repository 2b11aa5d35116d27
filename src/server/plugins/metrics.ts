import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import { isAsyncIterable, type Plugin } from 'graphql-yoga';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Authenticate } from '../../auth/credentials.ts';
import type { TakeOperation } from '../../auth/quota.ts';
import { faultOf } from './mask-error.ts';

const TYPES = ['query', 'mutation', 'subscription'] as const;
const OUTCOMES = ['ok', 'refused', 'unavailable', 'failed'] as const;
type Outcome = (typeof OUTCOMES)[number];
/** Reasons for refusing a request before its operation starts. */
const REFUSALS = ['credentials', 'rate', 'document'] as const;

/** Counts GraphQL operations, over every transport. */
export type OperationMetrics = {
  /** Must be the first plugin, so that it counts operations that others stop. */
  readonly plugin: Plugin;
  readonly countAuthentications: (authenticate: Authenticate) => Authenticate;
  readonly countOperations: (takeOperation: TakeOperation) => TakeOperation;
};

export function createOperationMetrics(metrics: Registry): OperationMetrics {
  const { operations, refusals, streams } = createCounts(metrics);
  return {
    plugin: {
      onParse: () => (parsed) => {
        if (parsed.result instanceof Error) refusals.inc({ reason: 'document' });
      },
      onValidate: () => (validated) => {
        if (!validated.valid) refusals.inc({ reason: 'document' });
      },
      onExecute: ({ args, executeFn, setExecuteFn }) => {
        // Yoga leaves the types of these open.
        const type = typeOf(args);
        setExecuteFn(async (execution: ExecutionArgs): Promise<unknown> => {
          try {
            // `as`: the function of graphql-js or of another plugin.
            return await (executeFn(execution) as Promise<unknown>);
          } catch (error) {
            // A timeout counts as refused; a disconnected client does not count.
            if (faultOf(error) === 'refused') operations.inc({ type, outcome: 'refused' });
            throw error;
          }
        });
        return {
          onExecuteDone: ({ result }) => {
            // There is no incremental delivery, so any other result is a single one.
            if (!isAsyncIterable(result)) operations.inc({ type, outcome: outcomeOf(result) });
          },
        };
      },
      onSubscribe: () => ({
        onSubscribeResult: ({ result }) => {
          const type = 'subscription';
          if (!isAsyncIterable(result)) {
            operations.inc({ type, outcome: outcomeOf(result) });
            return undefined;
          }
          operations.inc({ type, outcome: 'ok' });
          streams.inc();
          return {
            onEnd: () => {
              streams.dec();
            },
          };
        },
        onSubscribeError: ({ error }) => {
          operations.inc({ type: 'subscription', outcome: faultOf(error) });
        },
      }),
    },
    countAuthentications: (authenticate) => async (authorization) => {
      const viewer = await authenticate(authorization);
      if (viewer === undefined) refusals.inc({ reason: 'credentials' });
      return viewer;
    },
    countOperations: (takeOperation) => (viewer, now) => {
      const waitMs = takeOperation(viewer, now);
      if (waitMs > 0) refusals.inc({ reason: 'rate' });
      return waitMs;
    },
  };
}

function createCounts(metrics: Registry) {
  const registers = [metrics];
  const operations = new Counter({
    registers,
    name: 'webhooks_graphql_operations_total',
    labelNames: ['type', 'outcome'],
    help: 'GraphQL operations by outcome; a subscription counts when it begins',
  });
  for (const type of TYPES) for (const outcome of OUTCOMES) operations.inc({ type, outcome }, 0);
  const refusals = new Counter({
    registers,
    name: 'webhooks_graphql_refusals_total',
    labelNames: ['reason'],
    help: 'GraphQL requests refused before execution: credentials, rate limit, or invalid document',
  });
  for (const reason of REFUSALS) refusals.inc({ reason }, 0);
  const streams = new Gauge({
    registers,
    name: 'webhooks_graphql_subscriptions',
    help: 'GraphQL subscriptions (live streams) that are running',
  });
  return { operations, refusals, streams };
}

function typeOf({ document, operationName }: Pick<ExecutionArgs, 'document' | 'operationName'>): string {
  return getOperationAST(document, operationName)?.operation ?? 'query';
}

/** The most severe fault among the errors. Errors that are members of a result union do not count. */
function outcomeOf({ errors = [] }: ExecutionResult): Outcome {
  const faults = new Set<Outcome>(errors.map(faultOf));
  return (['failed', 'unavailable', 'refused'] as const).find((fault) => faults.has(fault)) ?? 'ok';
}
