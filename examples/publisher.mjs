// Publishes one event as a service does: node examples/publisher.mjs <event type> <JSON> <id>
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect, headers } from 'nats';

const [type = 'conversation.created', data = '{"n": 1}', id = randomUUID()] = process.argv.slice(2);
const url = new URL(process.env.NATS_URL ?? (await readFile('.data/nats-url', 'utf8')).trim());

// The client does not read the user and the password from the URL.
const { host: servers, username: user, password: pass } = url;
const nats = await connect({ servers, user, pass });
// Use an id from your own data if there is one. If the event is published again after a crash, the engine ignores the copy.
const event = headers();
event.set('Event-Id', id);
const { seq } = await nats.jetstream().publish(`events.examples.${type}`, data, { headers: event });
console.log(`published ${id}, sequence number ${seq} in JetStream`);
await nats.close();
