import type { GraphiQLOptions } from 'graphql-yoga';

/** The operations that the page shows first: they run as they are, in the order in which a newcomer tries them. */
export const FIRST_OPERATIONS = `# 1. Put your key where it says <API key>, in the "Headers" tab below:
#    the admin key is in .data/admin-api-key, or what ADMIN_API_KEY was set to.
# 2. Press the play button and choose an operation. (With a tenant's key, leave \`tenant\` out.)

# Deliveries of the tenant, newest first, and why those that are pending wait.
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

# A new webhook subscription. Its signing secret is shown once, in this answer.
mutation Subscribe {
  createWebhookSubscription(
    input: { tenant: "acme", url: "http://localhost:5050/hooks", eventTypes: ["conversation.*"] }
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

# Every attempt as it is made. Publish an event, or use sendTestEvent, to see one.
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

/** What a person sees at GET /graphql. Over SSE, because the page cannot send what is in its headers tab over WebSocket. */
export const GRAPHIQL: GraphiQLOptions = {
  title: 'webhooks-engine',
  subscriptionsProtocol: 'SSE',
  defaultQuery: FIRST_OPERATIONS,
  defaultHeaders: JSON.stringify({ authorization: 'Bearer <API key>' }, undefined, 2),
  defaultEditorToolsVisibility: 'headers',
  // They would be kept in the browser's storage.
  shouldPersistHeaders: false,
};

/** The page from a package, with everything in it: Yoga's own fetches its scripts from elsewhere. */
export async function renderGraphiql(options: GraphiQLOptions): Promise<string> {
  // Nine megabytes, read when somebody asks for them.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  return renderGraphiQL(options);
}
