import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Credentials } from '../auth/credentials.ts';
import { createCpuShares, createRateLimit } from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';
import type { Config } from '../config/config.ts';
import type { InFlight } from '../lib/in-flight.ts';
import { parseTraceParent } from '../lib/tracing.ts';
import type { SchemaServices } from '../schema/context.ts';
import { createBodyQuota } from './body-quota.ts';
import { createGraphql } from './graphql.ts';
import { createMaskError } from './plugins/mask-error.ts';
import { createOperationMetrics } from './plugins/metrics.ts';
import { createResponseLimits } from './plugins/response-limits.ts';
import { createPublishRoute } from './publish-route.ts';
import { LiveSockets } from './websockets.ts';

export type TransportOptions = {
  readonly credentials: Pick<Credentials, 'authenticate' | 'watch'>;
  readonly services: SchemaServices;
  readonly settings: Config['api'];
  /** Operations in flight; a stop waits for them. */
  readonly operations: InFlight;
  /** Aborts when the server stops; live streams end then. */
  readonly stopping: AbortSignal;
  readonly log: Logger;
  readonly metrics: Registry;
  /** Whether the header `traceparent` of requests is used. */
  readonly isTracing: boolean;
};

export type Transports = {
  /** Answers a request over HTTP. */
  readonly graphql: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly sockets: LiveSockets;
};

/** GraphQL over HTTP and over WebSocket: both count against the same limits. */
export function createTransports(options: TransportOptions): Transports {
  const { credentials, services, settings, operations, stopping, log, metrics, isTracing } = options;
  const operationMetrics = createOperationMetrics(metrics);
  const takeOperation = createRateLimit(settings.rateLimit);
  const cpuShares = createCpuShares();
  const responseLimits = createResponseLimits(cpuShares);
  const holdBody = createBodyQuota();
  const shared = {
    credentials: {
      authenticate: operationMetrics.countAuthentications(credentials.authenticate),
      watch: (viewer: Viewer) => credentials.watch(viewer),
    },
    takeOperation: operationMetrics.countOperations(takeOperation),
    cpuShares,
    holdBody,
    responseLimits,
    operations,
    log,
  };
  const graphql = createGraphql({ ...shared, services, settings, stopping, operationMetrics });
  const { authenticate } = credentials;
  const limits = { takeOperation, cpuShares, holdBody, responseLimits, maskError: createMaskError(log) };
  const publishRoute = createPublishRoute({ graphql, authenticate, ...limits });
  return {
    graphql: async (request, response) => {
      const traceParent = isTracing ? traceParentOf(request) : undefined;
      const context = await publishRoute(request, response, traceParent);
      if (context !== 'answered') await graphql(request, response, { ...context, traceParent });
    },
    sockets: new LiveSockets({ ...shared, metrics, graphql }),
  };
}

function traceParentOf({ headers: { traceparent } }: IncomingMessage): string | undefined {
  return parseTraceParent(typeof traceparent === 'string' ? traceparent : undefined);
}
