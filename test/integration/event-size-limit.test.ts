import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Receiver, startReceiver } from '../support/receiver.ts';
import { startTestApp, startTestServices, type TestApp, type TestServices } from '../support/test-app.ts';

const MEBIBYTE = 1024 * 1024;

let services: TestServices;
let app: TestApp;
let receiver: Receiver;

beforeAll(async () => {
  services = await startTestServices();
  app = await startTestApp(services);
  receiver = await startReceiver();
});

afterAll(async () => {
  await app.stop();
  await receiver.close();
  await services.stop();
});

/** A JSON string of this many bytes. */
const jsonOf = (bytes: number): string => `"${'x'.repeat(bytes - 2)}"`;

it('an event of exactly 1 MiB is delivered, and one of a byte more rejected with its size', async () => {
  await app.subscribe({ url: receiver.url, eventTypes: ['published'] });
  await services.publish('events.acme.published', jsonOf(MEBIBYTE + 1));
  await services.publish('events.acme.published', jsonOf(MEBIBYTE));
  const [request] = await receiver.waitForRequests(1);
  expect(request?.rawBody.toString()).toContain(`"data":${jsonOf(MEBIBYTE)}}`);
  const { rejectedEvents } = await app.graphql<{ rejectedEvents: { edges: unknown[] } }>(
    '{ rejectedEvents { edges { node { subject reason message sizeBytes } } } }',
  );
  expect(rejectedEvents.edges).toMatchObject([
    {
      node: {
        subject: 'events.acme.published',
        reason: 'TOO_LARGE',
        message: 'the data has 1048577 bytes, at most 1048576 are accepted',
        sizeBytes: MEBIBYTE + 1,
      },
    },
  ]);
  expect(receiver.requests).toHaveLength(1);
});

it('a test event of exactly 1 MiB is delivered, and one of a byte more is rejected', async () => {
  const { id } = await app.subscribe({ url: receiver.url, eventTypes: ['never'] });
  const sendTestEvent = async (bytes: number) => {
    const { sendTestEvent: result } = await app.graphql<{ sendTestEvent: unknown }>(
      `mutation ($id: ID!, $data: JSON!) { sendTestEvent(subscriptionId: $id, data: $data) { __typename
        ... on InvalidInputError { problems { path message } } } }`,
      { id, data: 'x'.repeat(bytes - 2) },
    );
    return result;
  };
  expect(await sendTestEvent(MEBIBYTE + 1)).toEqual({
    __typename: 'InvalidInputError',
    problems: [{ path: 'data', message: 'has 1048577 bytes, at most 1048576 are accepted' }],
  });
  const before = receiver.requests.length;
  expect(await sendTestEvent(MEBIBYTE)).toEqual({ __typename: 'SendTestEventPayload' });
  const requests = await receiver.waitForRequests(before + 1);
  expect(requests.at(-1)?.rawBody.toString()).toContain(`"data":${jsonOf(MEBIBYTE)}}`);
});
