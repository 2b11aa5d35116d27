import { createYoga, type Plugin, type YogaServerInstance } from 'graphql-yoga';
import type { Logger } from 'pino';
import { createChildPages } from '../schema/child-pages.ts';
import type { Context, SchemaServices } from '../schema/context.ts';
import { PageBudget } from '../schema/page.ts';
import { schema } from '../schema/schema.ts';
import type { Viewer } from '../schema/viewer.ts';
import type { Credentials } from './credentials.ts';
import { endWithCredential } from './end-with-credential.ts';
import { createMaskError } from './mask-error.ts';
import { requireViewer } from './require-viewer.ts';

export type GraphqlOptions = {
  readonly services: SchemaServices;
  readonly credentials: Pick<Credentials, 'authenticate' | 'watch'>;
  readonly log: Logger;
  /** Aborts when live streams are to end. */
  readonly stopping: AbortSignal;
};

/** What came before the operation: who asks. Over HTTP the plugin below finds out, over WebSocket the handshake. */
export type ServerContext = { viewer?: Viewer };

export type Graphql = YogaServerInstance<ServerContext, Context>;

/** A sendTestEvent of 1 MiB fits in, escaped. */
const MAX_BODY_BYTES = 2 * 1024 * 1024;
const MAX_TOKENS = 5_000;

/** The GraphQL server without a socket: `fetch` answers HTTP requests, `getEnveloped` is for WebSockets. */
export function createGraphql({ services, credentials, log, stopping }: GraphqlOptions): Graphql {
  const maskError = createMaskError(log);
  return createYoga<ServerContext, Context>({
    schema,
    graphqlEndpoint: '/graphql',
    context: ({ viewer }) => {
      // Nobody gets here without one; if somebody did, nothing would be shown.
      if (viewer === undefined) throw new Error('an operation without a viewer');
      const childPages = createChildPages(services.database);
      return { services, viewer, stopping, pageBudget: new PageBudget(), childPages };
    },
    plugins: [
      requireViewer(credentials.authenticate, maskError),
      limitTokens(),
      endWithCredential((viewer) => credentials.watch(viewer)),
    ],
    maskedErrors: { maskError },
    // The default answers every origin, with credentials.
    cors: false,
    maxRequestBodySize: MAX_BODY_BYTES,
    multipart: false,
    batching: false,
    graphiql: false,
    landingPage: false,
    logging: false,
  });
}

/** Parsing is the one step whose cost the page budget does not bound. */
function limitTokens(): Plugin {
  return {
    onParse({ parseFn, setParseFn }) {
      // Yoga leaves the types of these functions open.
      setParseFn((source, options): unknown => parseFn(source, { ...options, maxTokens: MAX_TOKENS }));
    },
  };
}
