import { graphql } from '../../src/generated/graphql/gql.ts';

export const START = graphql(`
  query ExampleStart {
    webhookSubscriptions(first: 10) { nodes { id tenant url isActive } }
    deliveryLog(first: 1) { pageInfo { endCursor } }
  }
`);

export const LOG = graphql(`
  subscription ExampleLog($after: String) {
    deliveryLog(after: $after) { cursor eventType number status statusCode failureReason }
  }
`);
