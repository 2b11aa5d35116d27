import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import type { Receiver } from '../support/receiver.ts';
import { startTestStack, type TestStack } from '../support/test-stack.ts';
import { waitFor } from '../support/wait-for.ts';

const cleanUps = createCleanUps();

type Signed = {
  readonly subscription: { readonly secrets: readonly { readonly id: string }[] };
  readonly secret: string;
};

async function rotate({ app }: TestStack, id: string, overlapSeconds: number): Promise<Signed> {
  const { rotateWebhookSecret } = await app.graphql<{ rotateWebhookSecret: Signed }>(
    `mutation ($id: ID!, $overlapSeconds: Int!) { rotateWebhookSecret(id: $id, overlapSeconds: $overlapSeconds) {
      ... on RotateWebhookSecretPayload { secret subscription { secrets { id } } } } }`,
    { id, overlapSeconds },
  );
  return rotateWebhookSecret;
}

/** Sends an event; returns the secrets with which its request verifies, and the signing secrets according to the log. */
async function signersOf(
  stack: TestStack & { readonly receiver: Receiver },
  { id, secrets }: { readonly id: string; readonly secrets: readonly string[] },
): Promise<{ readonly verified: readonly boolean[]; readonly logged: readonly string[] }> {
  const count = stack.receiver.requests.length + 1;
  await stack.publish('events.acme.a', '{}');
  const request = (await stack.receiver.waitForRequests(count))[count - 1];
  await stack.waitForDeliveries(count, `status = 'SUCCESS'`);
  const { deliveryLog } = await stack.app.graphql<{ deliveryLog: { nodes: { signingSecretIds: string[] }[] } }>(
    `query ($id: ID!) { deliveryLog(filter: { subscriptionIds: [$id] }, first: 1) { nodes { signingSecretIds } } }`,
    { id },
  );
  const verifies = (secret: string) => {
    try {
      // `as`: each header has one value.
      new Webhook(secret).verify(request?.rawBody.toString() ?? '', request?.headers as Record<string, string>);
      return true;
    } catch {
      return false;
    }
  };
  return { verified: secrets.map(verifies), logged: deliveryLog.nodes[0]?.signingSecretIds ?? [] };
}

const idsOf = ({ subscription }: Signed) => subscription.secrets.map(({ id }) => id);

it('each secret signs until its overlap ends, and the log shows the signing secrets', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const { id, secret: first } = await stack.app.subscribe({ url: receiver.url });
  const second = await rotate(stack, id, 3_600);
  const third = await rotate(stack, id, 7_200);
  const secrets = [first, second.secret, third.secret];
  const overlapping = await signersOf({ ...stack, receiver }, { id, secrets });
  expect(overlapping.verified).toEqual([true, true, true]);
  // Newest first: the current one is the first to sign.
  expect(overlapping.logged).toHaveLength(3);
  expect(overlapping.logged).toEqual(idsOf(third));
  const fourth = await rotate(stack, id, 0);
  const alone = await signersOf({ ...stack, receiver }, { id, secrets: [...secrets, fourth.secret] });
  expect(alone.verified).toEqual([false, false, false, true]);
  expect(alone.logged).toEqual(idsOf(fourth));
  expect(alone.logged).toHaveLength(1);
});

it('verifySignature shows with which secret a received request is valid, or why it is invalid', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const { id } = await stack.app.subscribe({ url: receiver.url });
  const rotated = await rotate(stack, id, 3_600);
  await stack.publish('events.acme.a', '{"n":1.0}');
  const [request] = await receiver.waitForRequests(1);
  await stack.waitForDeliveries(1, `status = 'SUCCESS'`);
  const { deliveryLog } = await stack.app.graphql<{ deliveryLog: { nodes: { id: string }[] } }>(
    '{ deliveryLog { nodes { id } } }',
  );
  const header = (name: string) => String(request?.headers[name]);
  const received = {
    webhookId: header('webhook-id'),
    webhookTimestamp: header('webhook-timestamp'),
    webhookSignature: header('webhook-signature'),
  };
  const verify = async (input: Record<string, unknown>) => {
    const variables = { input: { ...received, ...input } };
    const query = `query ($input: VerifySignatureInput!) {
      verifySignature(input: $input) { isValid secretId failures { code } } }`;
    return (await stack.app.graphql<{ verifySignature: unknown }>(query, variables)).verifySignature;
  };
  const valid = { isValid: true, secretId: idsOf(rotated)[0], failures: [] };
  const body = request?.rawBody.toString() ?? '';
  expect(await verify({ subscriptionId: id, body })).toEqual(valid);
  const bodyBase64 = request?.rawBody.toString('base64');
  expect(await verify({ attemptId: deliveryLog.nodes[0]?.id, bodyBase64 })).toEqual(valid);
  // As changed by parsing and serializing it.
  const changed = { ...valid, isValid: false, failures: [{ code: 'BODY_DIFFERS' }] };
  expect(await verify({ subscriptionId: id, body: JSON.stringify(JSON.parse(body)) })).toEqual(changed);
  const late = { subscriptionId: id, body, receivedAt: new Date(Date.now() + 3_000_000) };
  expect(await verify(late)).toEqual({ ...valid, isValid: false, failures: [{ code: 'TIMESTAMP_OUTSIDE_TOLERANCE' }] });
  const other = await stack.app.subscribe({ url: receiver.url });
  const none = { isValid: false, secretId: null, failures: [{ code: 'NO_MATCHING_SECRET' }] };
  expect(await verify({ subscriptionId: other.id, body: '{}' })).toEqual(none);
  for (const [path, input] of [
    ['subscriptionId', { body }],
    ['body', { subscriptionId: id }],
    ['bodyBase64', { subscriptionId: id, bodyBase64: 'e30' }],
    ['webhookSignature', { subscriptionId: id, body, webhookSignature: 'v1,'.repeat(2_000) }],
    ['body', { subscriptionId: id, body: ' '.repeat(1_100_000) }],
  ] as const) {
    await expect(verify(input)).rejects.toThrow(path);
  }
  await expect(verify({ subscriptionId: deliveryLog.nodes[0]?.id, body })).rejects.toThrow('not found');
});

it('an old secret automatically stops signing when its overlap ends', async () => {
  const stack = await startTestStack(cleanUps);
  const receiver = await stack.receive();
  const { id, secret: first } = await stack.app.subscribe({ url: receiver.url });
  const second = await rotate(stack, id, 6);
  const secrets = [first, second.secret];
  const during = await signersOf({ ...stack, receiver }, { id, secrets });
  expect(during.verified).toEqual([true, true]);
  expect(during.logged).toEqual(idsOf(second));
  const after = await waitFor(
    async () => {
      const signers = await signersOf({ ...stack, receiver }, { id, secrets });
      return signers.verified[0] === false && signers;
    },
    { what: 'the overlap to end' },
  );
  expect(after.verified).toEqual([false, true]);
  expect(after.logged).toEqual(idsOf(second).slice(0, 1));
});
