import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DocumentNode, ExecutionArgs, ExecutionResult, GraphQLError, GraphQLSchema } from 'graphql';
import { createYoga, type YogaServerInstance } from 'graphql-yoga';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import type { Credentials } from '../auth/credentials.ts';
import type { CpuShares, TakeOperation } from '../auth/quota.ts';
import type { Viewer } from '../auth/viewer.ts';
import type { Config } from '../config/config.ts';
import { createChildPages } from '../delivery-log/child-pages.ts';
import { createEventCounter, createReplayCounter } from '../delivery-log/delivery-counts.ts';
import { createEventData } from '../delivery-log/event-data.ts';
import { createEventTypeFigures } from '../delivery-log/event-type-figures.ts';
import { createSubscriptionFigures } from '../delivery-log/subscription-figures.ts';
import { createTenantFigures } from '../delivery-log/tenant-figures.ts';
import type { InFlight } from '../lib/in-flight.ts';
import { createOperationWork, type OperationWork } from '../lib/operation-work.ts';
import type { Database } from '../postgres/client.ts';
import type { Context, SchemaServices } from '../schema/context.ts';
import { schema } from '../schema/schema.ts';
import { createBodyQuota, type HoldBody, MAX_BODY_BYTES } from './body-quota.ts';
import {
  endLongQueries,
  limitStreams,
  limitTenantConcurrency,
  limitTenantValues,
  trackStreams,
} from './plugins/concurrency.ts';
import { endWithCredential, requireViewer } from './plugins/credentials.ts';
import { GRAPHIQL, renderGraphiql } from './plugins/graphiql.ts';
import { limitOperations } from './plugins/limits.ts';
import { createMaskError } from './plugins/mask-error.ts';
import type { OperationMetrics } from './plugins/metrics.ts';
import { limitRequests } from './plugins/rate-limit.ts';
import { createCors, requireAccept, requireJson } from './plugins/request-headers.ts';
import { createResponseLimits, type ResponseLimits } from './plugins/response-limits.ts';
import { checkDocuments } from './plugins/validation.ts';

export type GraphqlOptions = {
  readonly services: SchemaServices;
  readonly credentials: Pick<Credentials, 'authenticate' | 'watch'>;
  readonly log: Logger;
  readonly settings: Config['api'];
  readonly takeOperation: TakeOperation;
  readonly cpuShares: CpuShares;
  /** Limits that are shared with other GraphQL routes. Default: separate limits. */
  readonly responseLimits?: ResponseLimits;
  readonly holdBody?: HoldBody;
  readonly operationMetrics: Pick<OperationMetrics, 'plugin'>;
  /** Operations in flight; a stop waits for them. */
  readonly operations: InFlight;
  /** Aborts when the server stops; live streams end then. */
  readonly stopping: AbortSignal;
};

/**
 * The context that is known before the operation starts. `requireViewer` sets the viewer over HTTP, the handshake over
 * WebSocket.
 */
export type ServerContext = {
  viewer?: Viewer;
  /** The request was charged to the viewer's rate and CPU time before it was passed to Yoga. */
  isCharged?: true;
  /** Its body was counted as well. */
  isAdmitted?: true;
  /** Yoga's adapter for Node.js adds these. */
  req?: IncomingMessage;
  res?: ServerResponse;
  /** To call with the request's body (HoldBody). */
  settleBody?: (body: string) => void;
  /** The JSON of the request's body, if it has been parsed. */
  parsedBody?: unknown;
  /** The operation uses a WebSocket, which is closed when its credential ends. */
  isOverSocket?: true;
  /** The position in a trace of the HTTP request, if traces are on. */
  traceParent?: string | undefined;
};

export type Graphql = YogaServerInstance<ServerContext, Context>;

/** The functions that Yoga creates for one operation, with types, which Yoga leaves open. */
export type Enveloped = {
  readonly schema: GraphQLSchema;
  readonly parse: (query: string) => DocumentNode;
  readonly validate: (schema: GraphQLSchema, document: DocumentNode) => readonly GraphQLError[];
  readonly contextFactory: () => unknown;
  readonly execute: (args: ExecutionArgs) => ExecutionResult | Promise<ExecutionResult>;
  readonly subscribe: (args: ExecutionArgs) => Promise<AsyncGenerator<ExecutionResult> | ExecutionResult>;
};

/**
 * Maximum characters of the documents in the cache, and the constant that each document adds to its own length. A
 * parsed document takes some 16 bytes per character.
 */
const MAX_CACHED_CHARACTERS = 2 * 1024 * 1024;
const DOCUMENT_CHARACTERS = 1_024;

/** The GraphQL server without a socket: `fetch` answers HTTP requests, `getEnveloped` is for WebSockets. */
export function createGraphql(options: GraphqlOptions): Graphql {
  const { services, credentials, log, stopping, settings, cpuShares, operationMetrics } = options;
  const maskError = createMaskError(log);
  return createYoga<ServerContext, Context>({
    schema,
    graphqlEndpoint: '/graphql',
    context: ({ viewer, traceParent }) => {
      // requireViewer has refused such requests already; fail closed.
      if (viewer === undefined) throw new Error('operation without a viewer');
      const work = createOperationWork(cpuShares(viewer));
      const database = meterDatabase(services.database, work);
      const loaders = {
        childPages: createChildPages(database),
        eventData: createEventData(database, work),
        countDeliveriesOfEvent: createEventCounter(database),
        countDeliveriesOfReplay: createReplayCounter(database),
        subscriptionFigures: createSubscriptionFigures(database),
        tenantFigures: createTenantFigures(database),
        eventTypeFigures: createEventTypeFigures(database),
      };
      return { services: { ...services, database }, viewer, traceParent, stopping, work, ...loaders };
    },
    plugins: [
      operationMetrics.plugin,
      requireViewer(credentials.authenticate, maskError),
      limitRequests({ ...options, holdBody: options.holdBody ?? createBodyQuota() }),
      requireJson(),
      requireAccept(),
      limitOperations(settings, cpuShares),
      checkDocuments(),
      (options.responseLimits ?? createResponseLimits(cpuShares)).plugin,
      limitTenantConcurrency(),
      endLongQueries(),
      limitTenantValues(cpuShares),
      trackStreams(options.operations),
      endWithCredential((viewer) => credentials.watch(viewer)),
      limitStreams(),
    ],
    maskedErrors: { maskError },
    cors: createCors(settings.corsOrigins),
    parserAndValidationCache: createDocumentCaches(),
    maxRequestBodySize: MAX_BODY_BYTES,
    multipart: false,
    batching: false,
    graphiql: settings.introspection && GRAPHIQL,
    renderGraphiQL: renderGraphiql,
    landingPage: false,
    logging: false,
  });
}

/**
 * Caches parsed documents by their text; Yoga keeps their validation results for the same time. Its default caches keep
 * 1,024 documents of any length.
 */
function createDocumentCaches() {
  const limits = {
    maxSize: MAX_CACHED_CHARACTERS,
    sizeCalculation: (_: object, text: string) => text.length + DOCUMENT_CHARACTERS,
  };
  return {
    documentCache: new LRUCache<string, DocumentNode>(limits),
    errorCache: new LRUCache<string, Error>(limits),
  };
}

/**
 * The database for one operation: pages count against the operation's budget of bytes. Reads in a transaction do not: it
 * holds locks and a connection, so it must not wait for the tenant's CPU account.
 */
function meterDatabase(database: Database, { readPage }: Pick<OperationWork, 'readPage'>): Database {
  const extend = () => {
    const { prisma: unmetered } = database;
    const metered = unmetered.$extends({
      client: { $transaction: unmetered.$transaction.bind(unmetered) },
      query: {
        $allModels: { findMany: ({ args, query }) => readPage(async () => query(args)) },
      },
    });
    // `as`: the extension changes neither arguments nor results; its type only lacks members of the original.
    return metered as unknown as Database['prisma'];
  };
  let prisma: Database['prisma'] | undefined;
  return {
    ...database,
    // Created on first use: an operation that only publishes reads no pages.
    get prisma() {
      return (prisma ??= extend());
    },
  };
}
