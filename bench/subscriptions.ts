import type { Stack } from './stack.ts';

export type SubscriptionInput = {
  readonly tenant: string;
  readonly url: string;
  readonly eventTypes: readonly string[];
  readonly rateLimitPerSecond?: number;
};

const CREATE = `mutation ($input: CreateWebhookSubscriptionInput!) {
  createWebhookSubscription(input: $input) {
    ... on CreateWebhookSubscriptionPayload { subscription { id } }
    ... on Error { message }
  }
}`;

const DELETE = `mutation ($id: ID!) {
  deleteWebhookSubscription(id: $id) {
    ... on DeleteWebhookSubscriptionPayload { id }
    ... on Error { message }
  }
}`;

/** Returns the subscription's id, which is the same in Postgres and GraphQL. */
export async function createSubscription({ graphql }: Stack, input: SubscriptionInput): Promise<string> {
  const { createWebhookSubscription: created } = await graphql<{
    createWebhookSubscription: { subscription?: { id: string }; message?: string };
  }>(CREATE, { input });
  if (created.subscription === undefined) throw new Error(`the subscription was rejected: ${created.message ?? ''}`);
  return created.subscription.id;
}

export async function deleteSubscription({ graphql }: Stack, id: string): Promise<void> {
  const { deleteWebhookSubscription: deleted } = await graphql<{
    deleteWebhookSubscription: { id?: string; message?: string };
  }>(DELETE, { id });
  if (deleted.id === undefined) throw new Error(`the subscription was not deleted: ${deleted.message ?? ''}`);
}
