import { graphql } from '../generated/graphql/gql.ts';

export const CREATE_SUBSCRIPTION = graphql(`
  mutation DemoCreateSubscription($input: CreateWebhookSubscriptionInput!) {
    createWebhookSubscription(input: $input) {
      ... on CreateWebhookSubscriptionPayload { secret subscription { id url eventTypes } }
      ... on Error { code message }
    }
  }
`);

export const WATCH = graphql(`
  subscription DemoWatch {
    deliveryLog { number status failureReason statusCode responseTimeMs eventType payloadSizeBytes }
  }
`);

export const CREATE_CONSOLE_SESSION = graphql(`
  mutation DemoCreateConsoleSession {
    createConsoleSession {
      ... on CreateConsoleSessionPayload { code }
      ... on Error { code message }
    }
  }
`);
