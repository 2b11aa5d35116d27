import { graphql } from '../../src/generated/graphql/gql.ts';

export const CREATE = graphql(`
  mutation Create($input: CreateWebhookSubscriptionInput!) {
    createWebhookSubscription(input: $input) {
      __typename
      ... on CreateWebhookSubscriptionPayload {
        secret
        subscription { id tenant url description eventTypes isActive timeoutMs maxInFlight rateLimitPerSecond headerNames createdAt updatedAt secrets { id createdAt expiresAt } }
      }
      ... on Error { code message }
      ... on InputError { problems { path message code } }
    }
  }
`);

export const UPDATE = graphql(`
  mutation Update($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
    updateWebhookSubscription(id: $id, input: $input) {
      __typename
      ... on UpdateWebhookSubscriptionPayload { subscription { id url eventTypes description isActive timeoutMs maxInFlight rateLimitPerSecond headerNames } }
      ... on Error { code message }
      ... on InputError { problems { path message code } }
    }
  }
`);

export const DELETE = graphql(`
  mutation Delete($id: ID!) {
    deleteWebhookSubscription(id: $id) {
      __typename
      ... on DeleteWebhookSubscriptionPayload { id }
      ... on Error { code message }
    }
  }
`);

export const ROTATE = graphql(`
  mutation Rotate($id: ID!, $overlapSeconds: Int) {
    rotateWebhookSecret(id: $id, overlapSeconds: $overlapSeconds) {
      __typename
      ... on RotateWebhookSecretPayload { secret previousSecretExpiresAt subscription { id secrets { id expiresAt } } }
      ... on Error { code message }
    }
  }
`);

export const SEND_TEST_EVENT = graphql(`
  mutation SendTest($subscriptionId: ID!, $eventType: String, $data: JSON) {
    sendTestEvent(subscriptionId: $subscriptionId, eventType: $eventType, data: $data) {
      __typename
      ... on SendTestEventPayload { delivery { id status subscription { id } event { id type data } } }
      ... on Error { code message }
      ... on InputError { problems { path message code } }
    }
  }
`);

export const SUBSCRIPTION = graphql(`
  query Subscription($id: ID!) { webhookSubscription(id: $id) { id url } }
`);

export const HEALTH = graphql(`
  query Health($filter: WebhookSubscriptionFilter) {
    webhookSubscriptions(filter: $filter) {
      edges {
        node {
          id isActive deactivationReason failingSince circuit { state openedAt nextProbeAt }
          deliveries { edges { node { id waitingFor nextAttemptAt subscription { id url } } } }
        }
      }
    }
  }
`);

export const SUBSCRIPTIONS = graphql(`
  query Subscriptions($filter: WebhookSubscriptionFilter, $first: Int, $after: String, $last: Int, $before: String) {
    webhookSubscriptions(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
      edges { cursor node { id } }
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    }
  }
`);

export const DELIVERY = graphql(`
  query Delivery($id: ID!) {
    delivery(id: $id) {
      id tenant status attemptCount nextAttemptAt waitingFor createdAt completedAt
      event { id data } subscription { id isActive } attempts { edges { node { number status } } }
    }
  }
`);

export const DELIVERY_LOG = graphql(`
  query DeliveryLog($filter: DeliveryFilter, $first: Int, $after: String) {
    deliveryLog(filter: $filter, first: $first, after: $after) {
      edges { cursor node { id cursor number status statusCode delivery { id } subscription { id } } }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

export const EVENT = graphql(`
  query Event($id: ID!, $tenant: String) { event(id: $id, tenant: $tenant) { id tenant type data deliveries { edges { node { id } } } } }
`);

export const WATCH = graphql(`
  subscription Watch($filter: DeliveryFilter, $after: String) {
    deliveryLog(filter: $filter, after: $after) { id cursor number status }
  }
`);

export const STATS = graphql(`
  query Stats($filter: DeliveryFilter, $from: DateTime!, $to: DateTime!, $bucket: StatsBucket!) {
    deliveryStats(filter: $filter, from: $from, to: $to, bucket: $bucket) {
      total { ...Counted } buckets { ...Counted }
    }
  }
  fragment Counted on DeliveryStatsBucket {
    from to attemptCount successCount failureCount successRate responseTimeMs { p50 p90 p95 p99 }
  }
`);
