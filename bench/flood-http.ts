import { Agent, request } from 'node:http';
import process from 'node:process';
import { clockMs } from './clock.ts';
import { eventData } from './event-data.ts';
import type { FloodMessage } from './flood.ts';

/** Publishes over GraphQL: with publishEvent if `batch` is 1, otherwise with publishEvents of that number. */
export type HttpFloodOrder = {
  readonly url: string;
  readonly adminApiKey: string;
  readonly events: number;
  /** NATS subjects. Each event goes to the tenant and type of the next one, round-robin. */
  readonly subjects: readonly string[];
  readonly batch: number;
};

/** Events in flight; at least 4 requests, so that one is always waiting. */
const IN_FLIGHT = 64;

const PUBLISH_EVENT = `mutation ($input: PublishEventInput!) {
  publishEvent(input: $input) { __typename ... on PublishEventPayload { event { id } } ... on Error { message } }
}`;
const PUBLISH_EVENTS = `mutation ($input: PublishEventsInput!) {
  publishEvents(input: $input) {
    __typename
    ... on PublishEventsPayload { results { status id } }
    ... on Error { message }
  }
}`;

const agent = new Agent({ keepAlive: true });

async function flood(order: HttpFloodOrder): Promise<FloodMessage> {
  const { events, batch } = order;
  let published = 0;
  async function publishInTurn(): Promise<void> {
    while (published < events) {
      const from = published;
      published = Math.min(events, from + batch);
      const numbers = Array.from({ length: published - from }, (_, index) => from + index);
      await publish(order, numbers);
    }
  }
  const begunAt = clockMs();
  await Promise.all(Array.from({ length: Math.max(4, Math.ceil(IN_FLIGHT / batch)) }, publishInTurn));
  return { begunAt, lastSequence: 0 };
}

/** The events of one call belong to the tenant of the first: with 100 subscriptions there is only one. */
async function publish(order: HttpFloodOrder, numbers: readonly number[]): Promise<void> {
  const subjects = numbers.map((number) => order.subjects[number % order.subjects.length] ?? '');
  const tenant = subjects[0]?.split('.')[1] ?? '';
  const events = numbers.map((number, index) => ({
    type: subjects[index]?.split('.').slice(2).join('.'),
    data: JSON.parse(eventData(number)) as unknown,
    id: `${process.pid}-${number}`,
  }));
  const isOne = order.batch === 1;
  const input = isOne ? { tenant, ...events[0] } : { tenant, events };
  const answer = await post(
    order,
    JSON.stringify({ query: isOne ? PUBLISH_EVENT : PUBLISH_EVENTS, variables: { input } }),
  );
  const accepted = answer.split(isOne ? '"PublishEventPayload"' : '"ACCEPTED"').length - 1;
  if (accepted !== events.length) throw new Error(`not all events were accepted: ${answer.slice(0, 1_000)}`);
}

/** With node:http, which costs the publisher less than fetch. */
function post({ url, adminApiKey }: HttpFloodOrder, body: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      authorization: `Bearer ${adminApiKey}`,
    };
    const sent = request(`${url}/graphql`, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        resolve(text);
      });
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

process.on('disconnect', () => process.exit(0));
process.on('message', (order: HttpFloodOrder) => {
  void flood(order).then((message) => process.send?.(message));
});
