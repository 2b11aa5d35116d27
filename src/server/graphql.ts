import { createYoga, type Plugin, type YogaServerInstance } from 'graphql-yoga';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Context, SchemaServices } from '../schema/context.ts';
import { schema } from '../schema/schema.ts';
import type { Viewer } from '../schema/viewer.ts';
import type { Authenticate } from './auth.ts';
import { createCors, requireJson } from './cross-origin.ts';
import { endLongQueries } from './deadline.ts';
import { GRAPHIQL, renderGraphiql } from './graphiql.ts';
import { limitOperations } from './limits.ts';
import { createMaskError } from './mask-error.ts';
import { limitRate, type TakeOperation } from './rate-limit.ts';

export type GraphqlOptions = {
  readonly services: SchemaServices;
  readonly authenticate: Authenticate;
  readonly log: Logger;
  readonly settings: Config['api'];
  readonly takeOperation: TakeOperation;
  /** Aborts when live streams are to end. */
  readonly stopping: AbortSignal;
};

/** What came before the operation: who asks. Over HTTP the plugin below finds out, over WebSocket the handshake. */
type ServerContext = { viewer?: Viewer };

export type Graphql = YogaServerInstance<ServerContext, Context>;

/** A sendTestEvent of 1 MiB fits in, escaped. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;

/** The GraphQL server without a socket: `fetch` answers HTTP requests, `getEnveloped` is for WebSockets. */
export function createGraphql(options: GraphqlOptions): Graphql {
  const { services, authenticate, log, stopping, settings, takeOperation } = options;
  return createYoga<ServerContext, Context>({
    schema,
    graphqlEndpoint: '/graphql',
    context: ({ viewer }) => {
      // Nobody gets here without one; if somebody did, nothing would be shown.
      if (viewer === undefined) throw new Error('an operation without a viewer');
      return { services, viewer, stopping };
    },
    plugins: [
      requireViewer(authenticate),
      limitRate(takeOperation),
      requireJson(),
      limitOperations(settings),
      endLongQueries(),
    ],
    maskedErrors: { maskError: createMaskError(log) },
    cors: createCors(settings.corsOrigins),
    maxRequestBodySize: MAX_BODY_BYTES,
    multipart: false,
    batching: false,
    graphiql: settings.introspection && GRAPHIQL,
    renderGraphiQL: renderGraphiql,
    landingPage: false,
    logging: false,
  });
}

/** Before anything of the request is read. */
function requireViewer(authenticate: Authenticate): Plugin<object, ServerContext> {
  return {
    onRequest: async (hook) => {
      const { request, serverContext, fetchAPI } = hook;
      const viewer = await authenticate(request.headers.get('authorization') ?? undefined);
      if (viewer !== undefined) {
        serverContext.viewer = viewer;
        return;
      }
      const message = 'send the header `Authorization: Bearer <API key>`';
      const body = { errors: [{ message, extensions: { code: 'UNAUTHENTICATED' } }] };
      const headers = { 'content-type': 'application/json', 'www-authenticate': 'Bearer' };
      hook.endResponse(new fetchAPI.Response(JSON.stringify(body), { status: 401, headers }));
    },
  };
}
