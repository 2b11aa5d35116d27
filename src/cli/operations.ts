import { graphql } from '../generated/graphql/gql.ts';

export const PUBLISH = graphql(`
  mutation CliPublish($input: PublishEventInput!) {
    publishEvent(input: $input) {
      ... on PublishEventPayload { isKnown event { id tenant type createdAt } }
      ... on Error { code message }
      ... on InputError { problems { path message } }
    }
  }
`);

export const CREATE_SUBSCRIPTION = graphql(`
  mutation CliCreateSubscription($input: CreateWebhookSubscriptionInput!) {
    createWebhookSubscription(input: $input) {
      ... on CreateWebhookSubscriptionPayload { secret subscription { id tenant } }
      ... on Error { code message }
      ... on InputError { problems { path message } }
    }
  }
`);

export const UPDATE_SUBSCRIPTION = graphql(`
  mutation CliUpdateSubscription($id: ID!, $input: UpdateWebhookSubscriptionInput!) {
    updateWebhookSubscription(id: $id, input: $input) {
      ... on UpdateWebhookSubscriptionPayload { subscription { id } }
      ... on Error { code message }
    }
  }
`);

export const DELETE_SUBSCRIPTION = graphql(`
  mutation CliDeleteSubscription($id: ID!) {
    deleteWebhookSubscription(id: $id) {
      ... on DeleteWebhookSubscriptionPayload { id }
      ... on Error { code message }
    }
  }
`);

export const SUBSCRIPTIONS = graphql(`
  query CliSubscriptions($tenant: String, $after: String) {
    webhookSubscriptions(first: 250, after: $after, filter: { tenant: $tenant }) {
      nodes { id description }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

export const RELAY = graphql(`
  subscription CliRelay($filter: DeliveryFilter!, $after: String) {
    deliveryLog(filter: $filter, after: $after) {
      cursor number
      delivery { id event { id type occurredAt data } }
    }
  }
`);

export const LOG_CURSOR = graphql(`
  query CliLogCursor {
    deliveryLogCursor
  }
`);

export const TAIL = graphql(`
  subscription CliTail($filter: DeliveryFilter!, $after: String) {
    deliveryLog(filter: $filter, after: $after) {
      cursor startedAt tenant eventType number status statusCode failureReason errorMessage responseTimeMs isTest
      subscription { id url }
      delivery { id event { id } }
    }
  }
`);

export const START_REPLAY = graphql(`
  mutation CliStartReplay($input: StartReplayInput!) {
    startReplay(input: $input) {
      ... on StartReplayPayload {
        replay { id tenant status deliveryCount replayedCount skippedCount ratePerSecond }
      }
      ... on Error { code message }
      ... on InputError { problems { path message } }
    }
  }
`);

export const REPLAY_PROGRESS = graphql(`
  subscription CliReplayProgress($id: ID!) {
    replayProgress(id: $id) { id tenant status deliveryCount replayedCount skippedCount ratePerSecond }
  }
`);

export const KEYS = graphql(`
  query CliKeys($filter: ApiKeyFilter!, $after: String) {
    apiKeys(first: 250, after: $after, filter: $filter) {
      nodes { id name scope tenant createdAt lastUsedAt revokedAt }
      pageInfo { hasNextPage endCursor }
    }
  }
`);

export const CREATE_KEY = graphql(`
  mutation CliCreateKey($input: CreateApiKeyInput!) {
    createApiKey(input: $input) {
      ... on CreateApiKeyPayload { key apiKey { id name scope tenant } }
      ... on Error { code message }
      ... on InputError { problems { path message } }
    }
  }
`);

export const REVOKE_KEY = graphql(`
  mutation CliRevokeKey($id: ID!) {
    revokeApiKey(id: $id) {
      ... on RevokeApiKeyPayload { apiKey { id name scope tenant revokedAt } }
      ... on Error { code message }
    }
  }
`);
