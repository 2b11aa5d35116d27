import type { GraphiQLOptions } from 'graphql-yoga';

/** The operations in the editor of a new page, in the order in which a newcomer tries them. Each runs unchanged. */
export const FIRST_OPERATIONS = `# 1. Put your key in place of <API key>
#    in the "Headers" tab below. The admin
#    key is in .data/admin-api-key, or is
#    the value of ADMIN_API_KEY.
# 2. Press the play button and choose an
#    operation. (Leave \`tenant\` out with
#    the key of a tenant.)

# Deliveries of the tenant, newest first,
# and what pending ones are waiting for.
query Deliveries {
  deliveries(first: 20, filter: { tenant: "acme" }) {
    nodes {
      id
      status
      attemptCount
      waitingFor
      event {
        id
        type
      }
      subscription {
        url
      }
    }
  }
}

# Create a webhook subscription. Only this
# answer shows its signing secret.
mutation Subscribe {
  createWebhookSubscription(
    input: {
      tenant: "acme"
      url: "http://localhost:5050/hooks"
      eventTypes: ["conversation.*"]
    }
  ) {
    ... on CreateWebhookSubscriptionPayload {
      secret
      subscription {
        id
      }
    }
    ... on Error {
      code
      message
    }
  }
}

# Watch every attempt as it is made: publish
# an event, or call sendTestEvent.
subscription WatchDeliveryLog {
  deliveryLog(filter: { tenant: "acme" }) {
    eventType
    number
    status
    statusCode
    failureReason
    responseTimeMs
  }
}
`;

/**
 * Options of the page at GET /graphql. Subscriptions use SSE: the page cannot send the headers of its "Headers" tab over
 * WebSocket.
 */
export const GRAPHIQL: GraphiQLOptions = {
  title: 'webhooks-engine',
  subscriptionsProtocol: 'SSE',
  defaultQuery: FIRST_OPERATIONS,
  defaultHeaders: JSON.stringify({ authorization: 'Bearer <API key>' }, undefined, 2),
  defaultEditorToolsVisibility: 'headers',
  // Otherwise the browser's storage would keep API keys.
  shouldPersistHeaders: false,
};

/** The package's page has the default margin of a body around a full-height editor, which shows two scroll bars. */
const STYLE = '<style>html, body { margin: 0; overflow: hidden }</style>';

/** Renders the page from a package that contains all scripts; Yoga's own page loads them from a CDN. */
export async function renderGraphiql(options: GraphiQLOptions): Promise<string> {
  // The package has nine megabytes, so it is loaded with the first request for the page.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  return renderGraphiQL(options).replace('<style>', `${STYLE}<style>`);
}
