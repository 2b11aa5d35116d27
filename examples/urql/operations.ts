import { graphql } from '../../src/generated/graphql/gql.ts';

export const SUBSCRIPTIONS = graphql(`
  query ExampleSubscriptions { webhookSubscriptions(first: 10) { nodes { id tenant url isActive } } }
`);

export const LOG = graphql(`
  subscription ExampleLog($after: String) {
    deliveryLog(after: $after) { cursor eventType number status statusCode failureReason }
  }
`);
