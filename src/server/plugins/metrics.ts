import { type ExecutionArgs, type ExecutionResult, getOperationAST } from 'graphql';
import { isAsyncIterable, type Plugin } from 'graphql-yoga';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Authenticate } from '../../auth/credentials.ts';
import type { TakeOperation } from '../../auth/quota.ts';
import { faultOf } from './mask-error.ts';

const TYPES = ['query', 'mutation', 'subscription'] as const;
const OUTCOMES = ['ok', 'refused', 'unavailable', 'failed'] as const;
type Outcome = (typeof OUTCOMES)[number];
/** Why somebody did not get as far as an operation. */
const REFUSALS = ['credentials', 'rate', 'document'] as const;

/** Counts what comes over GraphQL, whatever the transport. */
export type OperationMetrics = {
  /** To be the first of the plugins: it sees what others stop. */
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
            // `as`: it is graphql-js's, or another plugin's in its place.
            return await (executeFn(execution) as Promise<unknown>);
          } catch (error) {
            // It took too long; or its client has gone, which is nobody's fault.
            if (faultOf(error) === 'refused') operations.inc({ type, outcome: 'refused' });
            throw error;
          }
        });
        return {
          onExecuteDone: ({ result }) => {
            // Nothing here is incremental, so it is one.
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
    ...{ registers, name: 'webhooks_graphql_operations_total', labelNames: ['type', 'outcome'] },
    help: 'GraphQL operations by outcome; a subscription counts when it begins',
  });
  for (const type of TYPES) for (const outcome of OUTCOMES) operations.inc({ type, outcome }, 0);
  const refusals = new Counter({
    ...{ registers, name: 'webhooks_graphql_refusals_total', labelNames: ['reason'] },
    help: 'What was refused before it was an operation: for its credentials, the rate limit, or a document that is not valid',
  });
  for (const reason of REFUSALS) refusals.inc({ reason }, 0);
  const streams = new Gauge({
    ...{ registers, name: 'webhooks_graphql_subscriptions' },
    help: 'GraphQL subscriptions (live streams) that are running',
  });
  return { operations, refusals, streams };
}

function typeOf({ document, operationName }: Pick<ExecutionArgs, 'document' | 'operationName'>): string {
  return getOperationAST(document, operationName)?.operation ?? 'query';
}

/** The worst of its errors, by whose fault they are. An error that is a member of a result union is none. */
function outcomeOf({ errors = [] }: ExecutionResult): Outcome {
  const faults = new Set<Outcome>(errors.map(faultOf));
  return (['failed', 'unavailable', 'refused'] as const).find((fault) => faults.has(fault)) ?? 'ok';
}
